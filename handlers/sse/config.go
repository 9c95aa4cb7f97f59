package sse

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/domain/menu"
)

// Defaults of the settings that are none of the user's.
const (
	defaultWriteTimeout = 10 * time.Second
	defaultWindowEvents = 1024
	defaultWindowBytes  = 4 << 20
	defaultTotalEvents  = 100_000
	defaultTotalBytes   = 64 << 20
	defaultWindowAge    = 5 * time.Minute
)

// Config holds what the streams work with. All fields without a default are required.
type Config struct {
	MaxConnections           int           // streams at once
	MaxConnectionsPerSession int           // 0: no limit
	MaxConnectionsPerAddress int           // 0: no limit
	KeepaliveInterval        time.Duration // silence after which a stream carries a comment
	EventHistoryTTL          time.Duration // how long a closed session's stream can be read; 0: for ever
	MaxEventSize             int           // bytes of a live message at most; stored events are checked when appended
	ReconnectInterval        time.Duration // what clients are told to wait before they come back
	MaxReconnectAttempts     int           // of the client at /client.js, in a row, before it reports a failure

	Incarnation string                       // the log's identity (streams.Identity), the first part of every cursor
	Tenant      func(*fiber.Ctx) menu.Tenant // who asks; the result must not refer to the request's memory
	Now         func() time.Time
	Logger      *slog.Logger

	WriteTimeout time.Duration // how long a client may take nothing before it is cut; default 10 s
	Window       Window
}

// Window bounds what the hub keeps in memory to spare reads of older history. The zero value of a field is its default.
type Window struct {
	Events      int           // of one session; default 1024
	Bytes       int           // of one session; default 4 MiB
	TotalEvents int           // of all sessions; default 100,000
	TotalBytes  int           // of all sessions; default 64 MiB
	Age         time.Duration // since the event arrived; default 5 min
}

// Validate names every setting that is missing or wrong.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, name, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("sse: Config.%s %s", name, want))
		}
	}
	check(c.MaxConnections >= 1, "MaxConnections", "must be at least 1")
	check(c.MaxConnectionsPerSession >= 0, "MaxConnectionsPerSession", "must not be negative")
	check(c.MaxConnectionsPerAddress >= 0, "MaxConnectionsPerAddress", "must not be negative")
	check(c.KeepaliveInterval > 0, "KeepaliveInterval", "must be above 0")
	check(c.EventHistoryTTL >= 0, "EventHistoryTTL", "must not be negative")
	check(c.MaxEventSize >= 1, "MaxEventSize", "must be at least 1")
	check(c.ReconnectInterval >= time.Millisecond, "ReconnectInterval", "must be at least 1ms")
	check(c.MaxReconnectAttempts >= 0, "MaxReconnectAttempts", "must not be negative")
	check(validIncarnation(c.Incarnation), "Incarnation", "must be 1 to 32 of A-Z a-z 0-9 _ -")
	check(c.Tenant != nil, "Tenant", "is missing")
	check(c.Now != nil, "Now", "is missing")
	check(c.Logger != nil, "Logger", "is missing")
	check(c.WriteTimeout >= 0, "WriteTimeout", "must not be negative")
	w := c.Window
	check(w.Events >= 0 && w.Bytes >= 0 && w.TotalEvents >= 0 && w.TotalBytes >= 0 && w.Age >= 0, "Window", "must not be negative")
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	orElse := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orElse(&c.Window.Events, defaultWindowEvents)
	orElse(&c.Window.Bytes, defaultWindowBytes)
	orElse(&c.Window.TotalEvents, defaultTotalEvents)
	orElse(&c.Window.TotalBytes, defaultTotalBytes)
	if c.Window.Age == 0 {
		c.Window.Age = defaultWindowAge
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = defaultWriteTimeout
	}
	return c
}
