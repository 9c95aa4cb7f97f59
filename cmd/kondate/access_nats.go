package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"kondate/handlers/access"
	"kondate/streams"
)

// accessNATSCommand groups what is done to the users of NATS.
type accessNATSCommand struct {
	Add    natsAddCommand    `cmd:"" help:"Make a user, and a file with the seed that the user connects with: once, it is not kept."`
	List   natsListCommand   `cmd:"" help:"Show the users."`
	Remove natsRemoveCommand `cmd:"" help:"Remove a user, and the consumer of a reader."`
	Config natsConfigCommand `cmd:"" help:"Print the accounts of the users for the configuration of a nats-server of your own."`
}

// usersPath is the file that is named, or that the server on the data dir reads, or would read; running is that server,
// zero if there is none.
func usersPath(s Storage) (path string, running connection, err error) {
	running, err = findServe(s.DataDir)
	if s.NATS.UsersFile == "" && running.NATSUsers != "" {
		return running.NATSUsers, running, err
	}
	return natsUsersFile(s.NATS, s.DataDir), running, err
}

type natsAddCommand struct {
	Storage `embed:""`

	Name     string `arg:"" help:"Who it is; A-Z a-z 0-9 _ -."`
	Role     string `required:"" enum:"reader,worker,server,admin" help:"What it may do: reader, worker, server (kondate's own processes) or admin."`
	Tenant   string `help:"Tenant of a reader or a worker; * is all. A worker is for all without it."`
	Stage    string `help:"Stage of a worker."`
	SeedFile string `placeholder:"FILE" help:"Where the seed goes; empty: NAME.nk in the working folder." type:"path"`
	FromNow  bool   `help:"Let a reader begin with the next event; without it, with the oldest one that the log has."`
	JSON     bool   `help:"Print JSON."`
}

// Help is shown below the flags.
func (natsAddCommand) Help() string {
	return "reader reads the events of its tenant, through a consumer of its own that this command makes; worker answers one stage; " +
		"server is for kondate's own processes (nats.credentials), admin for people with the nats command. Give the file of the seed to the user; " +
		"kondate keeps the public key only (docs/access.md).\n\n" +
		"Example: kondate access nats add reporting --role reader --tenant izakaya"
}

// addedUser is the answer in JSON.
type addedUser struct {
	streams.User

	SeedFile string `json:"seed_file"`
	Consumer string `json:"consumer,omitempty"`
}

// Run makes the user.
func (c natsAddCommand) Run(ctx context.Context, env environment) error {
	role, tenant := streams.UserRole(c.Role), c.Tenant
	switch {
	case role == streams.RoleReader && tenant == "":
		return usage(errors.New("a reader reads one tenant: name it with --tenant, or write --tenant '*' for all"))
	case role == streams.RoleWorker && tenant == "":
		tenant = streams.AllTenants
	case c.FromNow && role != streams.RoleReader:
		return usage(errors.New("--from-now is for readers"))
	}
	user, seed, err := streams.NewUser(c.Name, role, tenant, c.Stage, time.Now())
	if err != nil {
		return usage(err)
	}
	path, running, err := usersPath(c.Storage)
	if err != nil {
		return err
	}
	answer := addedUser{User: user, SeedFile: c.SeedFile}
	if answer.SeedFile == "" {
		answer.SeedFile = c.Name + ".nk"
	}
	if role == streams.RoleReader {
		answer.Consumer = streams.TeamConsumer(c.Name)
	}
	if err := c.admit(ctx, env, path, answer, seed); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(env.stdout, answer)
	}
	fmt.Fprintf(env.stdout, "User %s, role %s, in %s. The seed is in %s, for the user alone.\n", user.Name, user.Role, shortPath(path), shortPath(answer.SeedFile))
	if answer.Consumer != "" {
		fmt.Fprintf(env.stdout, "It reads with the consumer %s of the stream %s.\n", answer.Consumer, streams.EventStream)
	}
	printTakeUp(env.stdout, c.Storage, running)
	return nil
}

// admit makes what a user needs and then, last, the user; if that fails, none of it stays.
func (c natsAddCommand) admit(ctx context.Context, env environment, path string, made addedUser, seed []byte) (err error) {
	if users, err := readNATSUsers(path); err != nil {
		return err
	} else if taken(users, c.Name) {
		return takenError(c.Name, path)
	}
	var a *app // to the log, which a reader has a consumer of
	if made.Consumer != "" {
		if a, err = openLogBeside(ctx, c.Storage, newLogger(env.stderr, slog.LevelWarn)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.stop(ctx)) }()
	}
	if c.NATS.UsersFile == "" {
		if err := prepareDataDir(c.DataDir); err != nil {
			return err
		}
	}
	var undo []func() error
	defer func() {
		for _, back := range slices.Backward(undo) {
			if err != nil {
				err = errors.Join(err, back())
			}
		}
	}()
	if err := writeSeed(ctx, made.SeedFile, seed); err != nil {
		return err
	}
	undo = append(undo, func() error { return os.Remove(made.SeedFile) })
	if made.Consumer != "" {
		fresh, err := streams.EnsureTeam(ctx, a.js, made.User, c.FromNow)
		if err != nil {
			return err
		}
		if fresh {
			undo = append(undo, func() error {
				_, err := streams.RemoveTeam(context.WithoutCancel(ctx), a.js, c.Name)
				return err
			})
		}
	}
	return changeUsers(ctx, path, func(users []streams.User) ([]streams.User, error) {
		if taken(users, c.Name) {
			return nil, takenError(c.Name, path)
		}
		return append(users, made.User), nil
	})
}

func taken(users []streams.User, name string) bool {
	return slices.ContainsFunc(users, func(u streams.User) bool { return u.Name == name })
}

func takenError(name, path string) error {
	return fmt.Errorf("there is a user %s already in %s: take another name, or remove that one (kondate access nats remove %s)", name, path, name)
}

// writeSeed writes a file for its owner alone, whole or not at all, and over none.
func writeSeed(ctx context.Context, path string, seed []byte) error {
	return access.ChangeFile(ctx, path, func(raw []byte) ([]byte, error) {
		if raw != nil {
			return nil, fmt.Errorf("the file %s exists: delete it if it is the seed of a user who was removed; it may be somebody else's, then name another one with --seed-file", path)
		}
		return append(seed, '\n'), nil
	})
}

func changeUsers(ctx context.Context, path string, fn func([]streams.User) ([]streams.User, error)) error {
	return access.ChangeFile(ctx, path, func(raw []byte) ([]byte, error) {
		var users []streams.User
		if raw != nil {
			var err error
			if users, err = streams.ParseUsers(raw); err != nil {
				return nil, fmt.Errorf("the NATS users in %s cannot be used: %w", path, err)
			}
		}
		users, err := fn(users)
		if err != nil {
			return nil, err
		}
		return streams.FormatUsers(users)
	})
}

// printTakeUp says what makes a change count.
func printTakeUp(out io.Writer, s Storage, running connection) {
	switch {
	case s.NATS.URL != "" || (running.NATSSocket == "" && running.NATSURL != ""):
		fmt.Fprintln(out, "Put the output of kondate access nats config into your nats-server and reload it; after a reader was added, twice (docs/access.md).")
	case running.NATSUsers != "":
		fmt.Fprintln(out, "The kondate serve that runs takes the change by itself, within a few seconds.")
	case running.NATSSocket != "":
		fmt.Fprintln(out, "The kondate serve that runs was started without users: start it anew.")
	}
}

type natsListCommand struct {
	Storage `embed:""`

	JSON bool `help:"Print a line of JSON for each."`
}

// Help is shown below the flags.
func (natsListCommand) Help() string { return "Example: kondate access nats list" }

// Run lists the users.
func (c natsListCommand) Run(env environment) error {
	path, _, err := usersPath(c.Storage)
	if err != nil {
		return err
	}
	users, err := readNATSUsers(path)
	if err != nil {
		return err
	}
	if c.JSON {
		for _, u := range users {
			if err := printJSON(env.stdout, u); err != nil {
				return err
			}
		}
		return nil
	}
	if len(users) == 0 {
		fmt.Fprintf(env.stdout, "There are no users of NATS in %s: kondate access nats add makes one.\n", shortPath(path))
		return nil
	}
	now, w := time.Now(), tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tROLE\tTENANT\tSTAGE\tPUBLIC KEY\tCREATED")
	for _, u := range users {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Name, u.Role, u.Tenant, u.Stage, u.PublicKey, humanize.RelTime(u.Created, now, "ago", "from now"))
	}
	return w.Flush()
}

type natsRemoveCommand struct {
	Storage `embed:""`

	Name string `arg:"" help:"User to remove: kondate access nats list shows them."`
}

// Help is shown below the flags.
func (natsRemoveCommand) Help() string { return "Example: kondate access nats remove reporting" }

// Run removes the user first, for that must not depend on the broker; then the consumer of a reader. A consumer goes only
// with a user: whoever runs the command on the wrong data dir would take a team's place in the log away.
func (c natsRemoveCommand) Run(ctx context.Context, env environment) (err error) {
	path, running, err := usersPath(c.Storage)
	if err != nil {
		return err
	}
	var user streams.User
	err = changeUsers(ctx, path, func(users []streams.User) ([]streams.User, error) {
		i := slices.IndexFunc(users, func(u streams.User) bool { return u.Name == c.Name })
		if i < 0 {
			return nil, fmt.Errorf("there is no user %s in %s, and nothing was removed (kondate access nats list shows the users)", c.Name, path)
		}
		user = users[i]
		return slices.Delete(users, i, i+1), nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "User %s is removed from %s; the seed, %s.nk, can be deleted.\n", c.Name, shortPath(path), c.Name)
	printTakeUp(env.stdout, c.Storage, running)
	if user.Role != streams.RoleReader {
		return nil
	}
	a, err := openLogBeside(ctx, c.Storage, newLogger(env.stderr, slog.LevelWarn))
	if err == nil {
		defer func() { err = errors.Join(err, a.stop(ctx)) }()
		var gone bool
		if gone, err = streams.RemoveTeam(ctx, a.js, c.Name); gone {
			fmt.Fprintf(env.stdout, "The consumer %s is removed.\n", streams.TeamConsumer(c.Name))
		}
	}
	if err != nil {
		return fmt.Errorf("the user is removed, its consumer %s is not: once NATS can be reached, add %s again with --role reader --tenant '%s', and remove it again: %w",
			streams.TeamConsumer(c.Name), c.Name, user.Tenant, err)
	}
	return nil
}

type natsConfigCommand struct {
	Storage `embed:""`

	Prefix string `name:"sse-channel-prefix" default:"sse" help:"First token of the subjects of live messages."`
}

// Help is shown below the flags.
func (natsConfigCommand) Help() string {
	return "In the configuration of your nats-server: accounts { include ./kondate-accounts.conf }. It holds public keys only.\n\n" +
		"Example: kondate access nats config > kondate-accounts.conf"
}

// Run prints the accounts.
func (c natsConfigCommand) Run(env environment) error {
	path, _, err := usersPath(c.Storage)
	if err != nil {
		return err
	}
	users, err := readNATSUsers(path)
	if err != nil {
		return err
	}
	if len(users) == 0 {
		return fmt.Errorf("there are no users of NATS in %s: kondate access nats add makes one", path)
	}
	text, err := streams.UsersConfig(users, c.Prefix)
	if err != nil {
		return err
	}
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = u.Name
	}
	_, err = fmt.Fprintf(env.stdout, "# Accounts of kondate for %s. Made by kondate access nats config; in nats-server.conf: accounts { include FILE }\n%s",
		strings.Join(names, ", "), text)
	return err
}
