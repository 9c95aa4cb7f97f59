package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"

	"kondate/streams"
)

// natsSocket is the part by which other commands find the embedded broker: a socket in its folder, which only the owner
// may enter, or in a folder of its own if that path is too long for one.
func (a *app) natsSocket(ctx context.Context) (part, error) {
	if a.socket = streams.Socket(filepath.Join(a.dir("nats"), "socket")); !a.socket.Usable() {
		dir, err := os.MkdirTemp("", "kondate-")
		if err != nil {
			return part{}, fmt.Errorf("make a folder for the socket of the embedded NATS: %w", err)
		}
		a.onClose(func(context.Context) error { return os.RemoveAll(dir) })
		a.socket = streams.Socket(filepath.Join(dir, "socket"))
	}
	listener, err := a.socket.Listen(ctx)
	if err != nil {
		return part{}, err
	}
	a.onClose(func(context.Context) error { _ = listener.Close(); return nil }) // if the part never runs
	return part{"nats socket", func(ctx context.Context) error { return a.broker.Serve(ctx, listener) }}, nil
}

// openBeside opens the log and the rows for a command: those of the serve that runs on the data dir, else the embedded
// ones, which then run for as long as the command does; or what the settings name. The caller calls stop.
func openBeside(ctx context.Context, storage Storage, log *slog.Logger) (a *app, err error) {
	a, found, err := lookBeside(storage, log)
	if err != nil {
		return nil, err
	}
	err = a.openLogOf(ctx, found)
	if err == nil {
		err = a.openDatabaseOf(ctx, found)
	}
	if err != nil {
		return nil, errors.Join(err, a.stop(ctx))
	}
	return a, nil
}

// openLogBeside is openBeside for a command that needs only the log.
func openLogBeside(ctx context.Context, storage Storage, log *slog.Logger) (*app, error) {
	a, found, err := lookBeside(storage, log)
	if err != nil {
		return nil, err
	}
	if err := a.openLogOf(ctx, found); err != nil {
		return nil, errors.Join(err, a.stop(ctx))
	}
	return a, nil
}

// openDatabaseBeside is openBeside for a command that needs only the rows.
func openDatabaseBeside(ctx context.Context, storage Storage, log *slog.Logger) (*app, error) {
	a, found, err := lookBeside(storage, log)
	if err != nil {
		return nil, err
	}
	if err := a.openDatabaseOf(ctx, found); err != nil {
		return nil, errors.Join(err, a.stop(ctx))
	}
	return a, nil
}

// lookBeside finds the serve that runs on a data dir; found is zero if there is none.
func lookBeside(storage Storage, log *slog.Logger) (a *app, found connection, err error) {
	a = &app{cfg: Config{Storage: storage}, log: log}
	if found, err = findServe(storage.DataDir); err != nil {
		return nil, found, err
	}
	if found == (connection{}) && storage.NATS.URL == "" && storage.Database.URL == "" {
		if _, err := os.Stat(storage.DataDir); err != nil {
			return nil, found, fmt.Errorf("there is no data of kondate to work on, name its folder with --data-dir: %w", err)
		}
	}
	return a, found, nil
}

func (a *app) openLogOf(ctx context.Context, found connection) (err error) {
	if found.NATSSocket+found.NATSURL == "" || a.cfg.NATS.URL != "" {
		return a.openBroker(ctx)
	}
	a.dial = found.dial
	a.js, err = a.connect("command")
	return err
}

func (a *app) openDatabaseOf(ctx context.Context, found connection) error {
	if a.cfg.Database.URL != "" || found.DatabaseURL == "" {
		return a.openDatabase(ctx)
	}
	a.databaseURL = found.DatabaseURL
	return a.openPool(ctx)
}

// stop closes what was opened within the time that an orderly stop has.
func (a *app) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return a.close(ctx)
}

// findServe finds the serve that runs on a data dir; what it returns is zero if none does.
func findServe(dataDir string) (connection, error) {
	found, err := readConnection(dataDir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !found.alive() {
		return connection{}, nil
	}
	return found, err
}

// alive says whether the serve that wrote the file still runs: a killed one leaves its file behind.
func (c connection) alive() bool {
	nc, err := c.dial(nats.Name("kondate look"))
	if err != nil {
		return false
	}
	nc.Close()
	return true
}
