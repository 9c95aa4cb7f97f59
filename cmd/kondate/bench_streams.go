package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kondate/cmd/kondate/bench"
	"kondate/handlers/sse/load"
)

// The clients of streams that are measured: a menu's twenty dishes are watched by five of them.
const clientsEach = 5

// benchStreams measures session streams beside bare sockets.
func benchStreams(ctx context.Context, env environment, s bench.Settings, quick bool, report func(bench.Row)) (err error) {
	size := load.Size{Clients: clientsEach * s.Menus, Duration: 3 * time.Second}
	if quick {
		size.Duration = 500 * time.Millisecond
	}
	size.Sessions = max(1, size.Clients/10)
	b := &benched{env: env, sync: "default", roles: []string{roleAPI, roleProjector}, clients: size.Clients, Server: &load.Server{}}
	err = b.startOwn(ctx, s.Dir)
	if err == nil {
		err = b.startRaw(ctx)
	}
	defer func() { err = errors.Join(err, b.stop(ctx)) }()
	if err != nil {
		return err
	}
	var names []string
	measures := map[string][]load.Measure{}
	for range s.Rounds {
		for _, scenario := range load.Scenarios()[:1] { // fanout; the others are bench sse's
			err := scenario.Run(ctx, b.Server, size, func(m load.Measure) {
				if measures[m.Name] == nil {
					names = append(names, m.Name)
				}
				measures[m.Name] = append(measures[m.Name], m)
			})
			if err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		row, err := streamsRow(name, measures[name])
		if err != nil {
			return err
		}
		report(row)
	}
	return nil
}

// streamsRow is one scenario in a row: its latency if events came by a schedule, else how many were delivered.
func streamsRow(name string, measures []load.Measure) (bench.Row, error) {
	unit := bench.DeliveriesPerSecond
	var ours, raw []float64
	for _, m := range measures {
		switch {
		case !m.Sound():
			return bench.Row{}, fmt.Errorf("%w: %d missing, %d doubled, %d out of order. %s", errUnsound, m.Missing, m.Doubled, m.Reordered, m.Failed)
		case m.RawP99 > 0:
			unit = bench.Milliseconds
			ours, raw = append(ours, m.P99), append(raw, m.RawP99)
		default:
			ours, raw = append(ours, m.PerSecond), append(raw, m.RawPerSecond)
		}
	}
	what := fmt.Sprintf("%s, %d clients", name, measures[0].Clients)
	if unit == bench.Milliseconds {
		what += ", p99"
	}
	row := bench.NewRow(partSSE, what, unit, ours, raw, 0)
	if goal := streamsGoals()[name]; measures[0].Clients == goalClients {
		row = row.Within(goal)
	}
	return row, nil
}

// goalClients are the clients that the goals of streams are meant for.
const goalClients = 1000

// streamsGoals are latencies in milliseconds, and deliveries a second.
func streamsGoals() map[string]float64 {
	return map[string]float64{"many sessions": 5, "one session": 40, "full speed": 60_000}
}
