package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"kondate/domain/menu"
	"kondate/eventstore"
)

const (
	// FlushAfter is how long a finished result waits for others before it is recorded.
	FlushAfter = 25 * time.Millisecond
	// FlushBytes is about how large an event of results may become.
	FlushBytes = 512 << 10

	// grace is how long dishes that are being worked on may go on when the engine stops. Another process must have what
	// is open within two seconds.
	grace = time.Second
	// recordGrace is how long after the stop began results may still be recorded.
	recordGrace = 4 * time.Second
	// drain is how long after the stop began a delivery may stay unanswered before it is handed back without asking.
	drain = recordGrace + time.Second
	// closeTimeout bounds the stop of the router; it covers the graces and the drain.
	closeTimeout = 8 * time.Second
	// startPatience is how long a start waits for a broker that does not answer.
	startPatience = 30 * time.Second
	// inHand is how many deliveries of a stage a process works on at once. It is more than the chunks of the longest menu,
	// so that such a menu does not keep the next one at the broker.
	inHand = 128
	// readsAtOnce is how many reads a stage makes at once of what was answered before. With more of them the first to
	// come would be ready as late as the last: a process that is killed soon after its start would finish none.
	readsAtOnce = 4
	// maxRetryDelay caps the back-off and what a provider may ask for.
	maxRetryDelay = time.Hour
)

// Config holds the settings of an [Engine]. Every field is required but Limits, Cache, Cached, Overdue and Tracer.
type Config struct {
	Providers map[menu.Stage]Provider // one for each of the eight stages
	Limits    map[string]Limits       // of providers, by their name; one that is missing has none

	Cache  Cache    // of results; nil: none
	Cached []string // names of the providers whose results are kept in it

	MaxParallelTasks int           // dishes at once, for each stage of this process
	TaskTimeout      time.Duration // one attempt for one dish
	RetryAttempts    int           // attempts for one dish before its stage is parked
	RetryDelay       time.Duration // after the first failed attempt; it doubles with each one
	AckWait          time.Duration // of the stages' consumers

	// Overdue returns failed attempts whose next one should have been made before a time, limit of them at most. It finds
	// what waited in a stream that was lost. Nil: nobody looks.
	Overdue func(ctx context.Context, before time.Time, limit int) ([]eventstore.Entry, error)

	Clock  func() time.Time // the time of events
	Logger *slog.Logger
	Tracer trace.Tracer // of deliveries and calls; nil: none
}

// Validate names every field that cannot be worked with.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, field, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("stage.Config.%s %s", field, want))
		}
	}
	for _, s := range menu.Stages() {
		check(c.Providers[s] != nil, fmt.Sprintf("Providers[%s]", s), "is missing")
	}
	for name, l := range c.Limits {
		if err := l.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("stage.Config.Limits[%s]: %w", name, err))
		}
	}
	check(c.MaxParallelTasks > 0, "MaxParallelTasks", "must be at least 1")
	check(c.TaskTimeout > 0, "TaskTimeout", "must be positive")
	check(c.RetryAttempts > 0, "RetryAttempts", "must be at least 1")
	check(c.RetryDelay > 0, "RetryDelay", "must be positive")
	check(c.AckWait > 0, "AckWait", "must be positive")
	check(c.Clock != nil, "Clock", "is missing")
	check(c.Logger != nil, "Logger", "is missing")
	return errors.Join(errs...)
}
