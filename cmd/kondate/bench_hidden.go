package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"kondate/cmd/kondate/bench"
	"kondate/handlers/sse/load"
)

// benchRawCommand is the process of the raw limit.
type benchRawCommand struct{}

// Run serves until a signal comes.
func (benchRawCommand) Run(ctx context.Context, env environment) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Fprintln(env.stdout, listener.Addr())
	return load.ServeRaw(ctx, listener)
}

// benchServeCommand is the process of a server that is measured: serve, with what only a measurement wants.
type benchServeCommand struct {
	serveCommand `embed:""`

	Noop    bool   `help:"Stages that cost nothing."`
	Profile string `placeholder:"PATH" help:"What the files of its profiles begin with."`
}

// Run serves until a signal comes.
func (c benchServeCommand) Run(ctx context.Context, env environment) (err error) {
	if c.Profile != "" {
		stop, err := startProfile(c.Profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	if c.Noop {
		return c.serve(ctx, env, bench.Noop())
	}
	return c.serve(ctx, env, nil)
}

// startProfile writes path-cpu.pprof and path-allocs.pprof; the latter when stop is called.
func startProfile(path string) (stop func() error, err error) {
	cpu, err := os.Create(path + "-cpu.pprof") //nolint:gosec // the caller's own file
	if err == nil {
		err = pprof.StartCPUProfile(cpu)
	}
	if err != nil {
		return nil, fmt.Errorf("take a profile: %w", err)
	}
	return func() error {
		pprof.StopCPUProfile()
		allocs, err := os.Create(path + "-allocs.pprof") //nolint:gosec // as above
		if err == nil {
			err = errors.Join(pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
		}
		return errors.Join(err, cpu.Close())
	}, nil
}

// benchBrokerCommand is the process of a broker alone: what the log costs without the program around it.
type benchBrokerCommand struct {
	Storage `embed:""`
}

// brokerAlone is what it says when it is ready.
type brokerAlone struct {
	Seconds  float64 `json:"seconds"` // until it was ready
	Heap     uint64  `json:"heap_bytes"`
	Resident int     `json:"resident_bytes"`
}

// Run opens the log, says what that took, and waits for a signal.
func (c benchBrokerCommand) Run(ctx context.Context, env environment) (err error) {
	a := &app{cfg: Config{Storage: c.Storage}, log: newLogger(env.stderr, levelQuiet)}
	defer func() { err = errors.Join(err, a.stop(ctx)) }()
	began := time.Now()
	if err := a.openBroker(ctx); err != nil {
		return err
	}
	alone := brokerAlone{Seconds: time.Since(began).Seconds(), Resident: load.Resident(os.Getpid())}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	alone.Heap = memory.HeapAlloc
	raw, err := json.Marshal(alone)
	if err != nil {
		return fmt.Errorf("encode what the broker takes: %w", err)
	}
	fmt.Fprintf(env.stdout, "%s\n", raw)
	<-ctx.Done()
	return nil
}
