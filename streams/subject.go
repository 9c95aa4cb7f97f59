package streams

import (
	"errors"
	"fmt"
	"strings"

	"kondate/domain/menu"
)

// The subject grammar: menu.evt.<tenant>.<session>.<lane>.<event>. This file is the only place that writes or reads it.
const (
	// EventStream is the name of the stream that holds the log.
	EventStream = "MENU_EVENTS"

	eventRoot = "menu.evt"
	workRoot  = "menu.work"

	// AllEvents is the filter of every event of every session.
	AllEvents = eventRoot + ".>"

	// eventTokens is the number of tokens of an event's subject.
	eventTokens = 6
)

// ErrSubject is matched by every error of [ParseEventSubject] and [ChannelSubject].
var ErrSubject = errors.New("not a subject of the menu log")

// EventSubject returns the subject of an event. Key must hold parsed ids.
func EventSubject(key menu.Key, typ menu.Type) string {
	return eventRoot + "." + string(key.Tenant) + "." + string(key.Session) + "." + string(typ)
}

// ParseEventSubject is the inverse of [EventSubject]. It checks the tokens, not whether the type exists.
func ParseEventSubject(subject string) (menu.Key, menu.Type, error) {
	tokens := strings.Split(subject, ".")
	if len(tokens) != eventTokens || tokens[0]+"."+tokens[1] != eventRoot {
		return menu.Key{}, "", fmt.Errorf("%w: %q is not %s.<tenant>.<session>.<lane>.<event>", ErrSubject, subject, eventRoot)
	}
	tenant, err := menu.ParseTenant(tokens[2])
	if err != nil {
		return menu.Key{}, "", fmt.Errorf("%w: %q: %w", ErrSubject, subject, err)
	}
	session, err := menu.ParseSessionID(tokens[3])
	if err != nil {
		return menu.Key{}, "", fmt.Errorf("%w: %q: %w", ErrSubject, subject, err)
	}
	for _, token := range tokens[4:] {
		// A lane or an event follows the rules of an id.
		if _, err := menu.ParseSessionID(token); err != nil {
			return menu.Key{}, "", fmt.Errorf("%w: %q: %w", ErrSubject, subject, err)
		}
	}
	return menu.Key{Tenant: tenant, Session: session}, menu.Type(tokens[4] + "." + tokens[5]), nil
}

// SessionFilter matches every event of one session.
func SessionFilter(key menu.Key) string {
	return eventRoot + "." + string(key.Tenant) + "." + string(key.Session) + ".>"
}

// LaneFilter matches every event of one lane of one session. For [menu.LaneMenu] it is also the guard of an append:
// all writers of the lane must use this very string (a wildcard guard is exact on a replicated stream only then).
func LaneFilter(key menu.Key, lane menu.Lane) string {
	return eventRoot + "." + string(key.Tenant) + "." + string(key.Session) + "." + string(lane) + ".*"
}

// TypeFilter matches every event of one type, of all tenants and sessions.
func TypeFilter(typ menu.Type) string { return eventRoot + ".*.*." + string(typ) }

// WorkSubject returns the subject of the requests to the workers of other teams for one stage: menu.work.<tenant>.<stage>.
// The requests are core NATS and not stored. Tenant must be parsed.
func WorkSubject(tenant menu.Tenant, stage menu.Stage) string {
	return workRoot + "." + string(tenant) + "." + stage.String()
}

// WorkFilter matches the requests of all tenants for one stage.
func WorkFilter(stage menu.Stage) string { return workRoot + ".*." + stage.String() }

// WorkQueue is the queue group of the workers of one stage: each request goes to one of them.
func WorkQueue(stage menu.Stage) string { return workQueue(stage.String()) }

func workQueue(stage string) string { return "work-" + stage }

// ChannelSubject returns the subject of a live message of a session: <prefix>.<tenant>.<session>.<name>.
// Live messages are core NATS and not stored.
func ChannelSubject(prefix string, key menu.Key, name string) (string, error) {
	if _, err := menu.ParseSessionID(name); err != nil {
		return "", fmt.Errorf("%w: channel message name: %w", ErrSubject, err)
	}
	return prefix + "." + string(key.Tenant) + "." + string(key.Session) + "." + name, nil
}

// ChannelFilter matches the live messages of all sessions.
func ChannelFilter(prefix string) string { return prefix + ".*.*.*" }

// ParseChannelSubject is the inverse of [ChannelSubject].
func ParseChannelSubject(prefix, subject string) (menu.Key, string, error) {
	rest, ok := strings.CutPrefix(subject, prefix+".")
	tokens := strings.Split(rest, ".")
	if !ok || len(tokens) != 3 {
		return menu.Key{}, "", fmt.Errorf("%w: %q is not %s.<tenant>.<session>.<name>", ErrSubject, subject, prefix)
	}
	tenant, err := menu.ParseTenant(tokens[0])
	if err != nil {
		return menu.Key{}, "", fmt.Errorf("%w: %q: %w", ErrSubject, subject, err)
	}
	session, err := menu.ParseSessionID(tokens[1])
	if err != nil {
		return menu.Key{}, "", fmt.Errorf("%w: %q: %w", ErrSubject, subject, err)
	}
	if _, err := menu.ParseSessionID(tokens[2]); err != nil {
		return menu.Key{}, "", fmt.Errorf("%w: %q: %w", ErrSubject, subject, err)
	}
	return menu.Key{Tenant: tenant, Session: session}, tokens[2], nil
}
