package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/projections/postgres"
	"kondate/streams"
)

// stopTimeout bounds the stop of a broker or a database.
const stopTimeout = 30 * time.Second

// closer is what has to be ended, the last one first.
type closer struct{ ends []func(context.Context) error }

func (c *closer) add(end func(context.Context) error) { c.ends = append(c.ends, end) }

// Close ends everything.
func (c *closer) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	var errs []error
	for len(c.ends) > 0 {
		end := c.ends[len(c.ends)-1]
		c.ends = c.ends[:len(c.ends)-1]
		errs = append(errs, end(ctx))
	}
	return errors.Join(errs...)
}

// broker is a server of its own with the topology of the log.
type broker struct {
	closer

	js jetstream.JetStream
}

func startBroker(ctx context.Context, s Settings, sync string) (_ *broker, err error) {
	policy, err := streams.ParseSync(sync)
	if err != nil {
		return nil, err
	}
	b := &broker{}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close(ctx))
		}
	}()
	dir, err := os.MkdirTemp(s.Dir, "nats-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the broker: %w", err)
	}
	b.add(func(context.Context) error { return os.RemoveAll(dir) })
	server, err := streams.StartServer(ctx, streams.ServerConfig{StoreDir: dir, Sync: policy, Logger: s.Logger})
	if err != nil {
		return nil, err
	}
	b.add(server.Shutdown)
	nc, err := server.Connect()
	if err != nil {
		return nil, err
	}
	b.add(func(context.Context) error { nc.Close(); return nil })
	if b.js, err = jetstream.New(nc); err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	return b, streams.Ensure(ctx, b.js, streams.Topology{Replicas: 1, MaxBytes: 8 << 30, AckWait: 30 * time.Second})
}

// database is a private Postgres of its own.
type database struct {
	closer

	url string
}

func startDatabase(ctx context.Context, s Settings) (db *database, err error) {
	db = &database{}
	dir, err := os.MkdirTemp(s.Dir, "postgres-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for Postgres: %w", err)
	}
	db.add(func(context.Context) error { return os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // Postgres passes as an unprivileged user when the caller is root
		return nil, errors.Join(fmt.Errorf("make a folder for Postgres: %w", err), db.Close(ctx))
	}
	server, err := postgres.Start(ctx, postgres.Config{Dir: dir, Logger: s.Logger})
	if err != nil {
		return nil, errors.Join(err, db.Close(ctx))
	}
	db.add(server.Stop)
	db.url = server.URL()
	return db, nil
}
