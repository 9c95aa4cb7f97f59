package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"kondate/handlers/httpapi"
)

const (
	readTimeout = 30 * time.Second
	idleTimeout = 2 * time.Minute
	// httpStop bounds how long the server waits for requests that are under way when it stops.
	httpStop = 3 * time.Second
)

// openHTTP returns the parts that serve HTTP, which every process does, and the URL that they serve at. It comes after
// the other parts, whose checks /readyz makes.
func (a *app) openHTTP(ctx context.Context, roles []string) (parts []part, url string, err error) {
	door, err := a.openDoor()
	if err != nil {
		return nil, "", err
	}
	a.localKey = door.localKey
	a.web = fiber.New(door.webConfig(fiber.Config{
		ErrorHandler: httpapi.ErrorHandler(a.log), //nolint:contextcheck // each call gets its request's own
		BodyLimit:    httpapi.MaxBodyBytes, CaseSensitive: true, DisableStartupMessage: true, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
	}))
	requests := newRequestMetrics()
	if err := a.register("HTTP", requests.count, requests.seconds); err != nil {
		return nil, "", err
	}
	a.web.Use(requests.observe)
	end := func(context.Context) error { return nil }
	if slices.Contains(roles, roleAPI) {
		parts, end, err = a.api(ctx, door, roles)
	} else {
		err = a.probes(door, roles)
	}
	if err != nil {
		return nil, "", err
	}
	listener, url, err := a.listenHTTP(ctx)
	if err != nil {
		return nil, "", err
	}
	serve := func(ctx context.Context) error { return serveHTTP(ctx, a.web, end, listener) }
	return append(parts, part{"http", serve}), url, nil
}

// readiness is what /readyz tells of this process.
func (a *app) readiness(roles []string) httpapi.Readiness {
	return httpapi.Readiness{Roles: roles, Durability: a.durability, Checks: a.checks}
}

// probes lets a process without the role api answer probes and serve its metrics, under the same rules of auth.
func (a *app) probes(door door, roles []string) error {
	probes, err := httpapi.NewProbes(a.readiness(roles), a.log)
	if err != nil {
		return err
	}
	probes.Use(a.web)
	door.use(a.web)
	serveMetrics(a.web, a.metrics)
	probes.Routes(a.web)
	return nil
}

// serveHTTP serves until ctx ends, then calls end, for what would not end by itself, and lets the requests under way finish.
func serveHTTP(ctx context.Context, web *fiber.App, end func(context.Context) error, listener net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- web.Listener(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpStop)
	defer cancel()
	if err := end(stopCtx); err != nil {
		return err
	}
	if err := web.ShutdownWithTimeout(httpStop); err != nil {
		return fmt.Errorf("stop HTTP: %w", err)
	}
	// A shutdown that comes before the server has begun leaves the listener open, and the server then begins after it.
	_ = listener.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
