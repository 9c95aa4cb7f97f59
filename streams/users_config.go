package streams

import (
	"fmt"
	"slices"
	"strings"

	"kondate/domain/menu"
)

const (
	// menuAccount is the account of the broker in which the streams are. Inside this process it is the global one,
	// where they were before there were users.
	menuAccount = "KONDATE"
	// teamAccount begins the name of a reader's account.
	teamAccount = "KONDATE-team-"
	// nothing is a subject on which nobody listens. A reader's account has it in place of $JS.API.INFO: with an import
	// of that name the server leaves its own answers to $JS.API.> out, which would come before those of the menus' account.
	nothing = "menu.nothing"

	// workerReplies and workerTime bound the answers of a worker to one request.
	workerReplies = 1000
	workerTime    = "1h"
)

// UsersConfig writes the accounts of a nats-server for these users: what stands between the braces of accounts {…}.
// ChannelPrefix is the first token of the subjects of live messages.
//
// A reader gets an account of its own, into which its events are imported. Permissions in the menus' account would not
// do: whoever may ask JetStream there for anything names the subject of the answer, and the broker checks no right to
// publish on it. A read with an event subject for its inbox would write an event.
func UsersConfig(users []User, channelPrefix string) (string, error) {
	if _, err := menu.ParseTenant(channelPrefix); err != nil {
		return "", fmt.Errorf("the prefix %q of live messages is no token of a subject: %w", channelPrefix, err)
	}
	var inside, teams []string
	// They are there without readers too: at a reload, a global account that exports nothing keeps what it exported before.
	exports := []string{"{service: " + quoted(nothing) + "}", "{stream: " + quoted(nothing) + "}"}
	// Exports name no account: only this text imports anything, and the broker (2.15.2) puts the accounts that an export
	// names into its options while they are at work, and reads them there at the next reload without a lock.
	export := func(entry string) {
		if !slices.Contains(exports, entry) {
			exports = append(exports, entry)
		}
	}
	for _, u := range users {
		if err := u.check(); err != nil {
			return "", err
		}
		if u.Role != RoleReader {
			inside = append(inside, fmt.Sprintf("{nkey: %s%s} # %s, %s", u.PublicKey, u.permissions(channelPrefix), u.Name, u.Role))
			continue
		}
		team := quoted(teamAccount + u.Name)
		imports := []string{fmt.Sprintf("{service: {account: %s, subject: %s}, to: \"$JS.API.INFO\"}", menuAccount, quoted(nothing))}
		for _, s := range u.services() {
			export(fmt.Sprintf("{service: %s, response_type: %s}", quoted(s.subject), s.answers))
			imports = append(imports, fmt.Sprintf("{service: {account: %s, subject: %s}}", menuAccount, quoted(s.subject)))
		}
		export(fmt.Sprintf("{stream: %s}", quoted(u.events())))
		imports = append(imports, fmt.Sprintf("{stream: {account: %s, subject: %s}}", menuAccount, quoted(u.events())))
		teams = append(teams, fmt.Sprintf("%s: {\n  users: [{nkey: %s}]\n%s}\n", team, u.PublicKey, list("imports", imports)))
	}
	return menuAccount + ": {\n  jetstream: enabled\n" + list("users", inside) + list("exports", exports) + "}\n" + strings.Join(teams, ""), nil
}

func list(name string, entries []string) string {
	return "  " + name + ": [\n    " + strings.Join(entries, "\n    ") + "\n  ]\n"
}

// quoted writes a subject as the configuration wants it: within quotes a $ means itself.
func quoted(subjects ...string) string {
	for i, s := range subjects {
		subjects[i] = `"` + s + `"`
	}
	return strings.Join(subjects, ", ")
}

// events is the filter of what a reader reads.
func (u User) events() string {
	if u.Tenant == AllTenants {
		return AllEvents
	}
	return eventRoot + "." + u.Tenant + ".>"
}

// service is a subject of the menus' account on which a reader may ask.
type service struct{ subject, answers string }

// services are a reader's: its own durable consumer, made for it with its filter, and the last event on a subject.
func (u User) services() []service {
	name := EventStream + "." + TeamConsumer(u.Name)
	return []service{
		{"$JS.API.CONSUMER.INFO." + name, "single"},
		{"$JS.API.CONSUMER.MSG.NEXT." + name, "stream"},
		{"$JS.ACK." + name + ".>", "single"},
		{"$JS.API.DIRECT.GET." + EventStream + "." + u.events(), "single"},
	}
}

// permissions are those of a user within the menus' account.
func (u User) permissions(channelPrefix string) string {
	switch u.Role {
	case RoleWorker:
		requests := workRoot + "." + u.Tenant + "." + u.Stage + " " + workQueue(u.Stage)
		return fmt.Sprintf(", permissions: {publish: {deny: \">\"}, subscribe: [%s], allow_responses: {max: %d, expires: %s}}",
			quoted(requests), workerReplies, quoted(workerTime))
	case RoleServer:
		publish := []string{AllEvents, AllRetries, workRoot + ".>", reportSubject, channelPrefix + ".>", "_INBOX.>", "$O." + ImageBucket + ".>", "$JS.API.INFO"}
		for _, stream := range []string{EventStream, RetryStream, imageStream} {
			publish = append(publish, "$JS.ACK."+stream+".>")
			for _, call := range []string{
				"STREAM.INFO", "STREAM.CREATE", "STREAM.UPDATE", "STREAM.MSG.GET", "STREAM.MSG.DELETE", "DIRECT.GET",
				"CONSUMER.CREATE", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.PAUSE", "CONSUMER.MSG.NEXT",
			} {
				publish = append(publish, "$JS.API."+call+"."+stream, "$JS.API."+call+"."+stream+".>")
			}
		}
		publish = append(publish, "$JS.API.STREAM.PURGE."+imageStream) // a picture that is stored again
		subscribe := quoted("_INBOX.>", reportSubject, channelPrefix+".>")
		return ", permissions: {publish: [" + quoted(publish...) + "], subscribe: [" + subscribe + "]}"
	case RoleAdmin, RoleReader: // everything; a reader has an account of its own
	}
	return ""
}
