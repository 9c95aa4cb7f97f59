package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"kondate/eventstore"
	"kondate/handlers/sse/load"
	"kondate/streams"
)

type benchSSECommand struct {
	Scenarios []string `arg:"" optional:"" help:"What to measure: fanout, replay, churn, slow, idle; nothing: all."`

	URL     string     `placeholder:"URL" help:"Server to measure; empty: the one on --data-dir, else one that is started for it and thrown away."`
	DataDir string     `placeholder:"DIR" help:"Data dir of the server to measure, by which its log is found." type:"path"`
	NATSURL string     `placeholder:"URL" help:"NATS of the server to measure, if it has no data dir here."`
	Access  NATSAccess `embed:"" prefix:"nats-"`

	Clients  int           `help:"Connections; 0: what suits the scenario."`
	Sessions int           `help:"Sessions that the connections are spread over; 0: what suits the scenario."`
	Rate     float64       `help:"Events a second; 0: what suits the scenario."`
	Duration time.Duration `help:"How long events are appended; 0: what suits the scenario."`
	Payload  ByteSize      `default:"0" help:"Size of an event's data; 0: what suits the scenario."`
	Sync     string        `default:"default" help:"nats.sync of the server that is started; the broker's default leaves the disk out of the figures."`
	JSON     bool          `help:"Print JSON."`
}

// Help is shown below the flags.
func (benchSSECommand) Help() string {
	return "Clients and server share this machine: compare a figure with its raw limit (the same frames written to as many sockets by a program that does nothing else), " +
		"and look at FOREIGN, the processors that others took meanwhile. Exit 1 if an event was missing, doubled or out of order, or something was left over.\n\n" +
		"On a server that runs it makes sessions bench-…, and erases them afterwards.\n\n" +
		"Example: kondate bench sse fanout idle --clients 10000 --duration 5s"
}

// Validate refuses what could not be measured. kong calls it.
func (c benchSSECommand) Validate() error {
	for _, name := range c.Scenarios {
		if !slices.ContainsFunc(load.Scenarios(), func(s load.Scenario) bool { return s.Name == name }) {
			return fmt.Errorf("there is no scenario %q: choose among fanout, replay, churn, slow, idle", name)
		}
	}
	if c.URL != "" && c.DataDir == "" && c.NATSURL == "" {
		return errors.New("--url alone does not say where the server's log is: add --nats-url, or --data-dir instead of --url")
	}
	if c.Clients < 0 || c.Sessions < 0 || c.Rate < 0 || c.Duration < 0 {
		return errors.New("sizes cannot be negative")
	}
	return nil
}

// errUnsound says that streams did something that they must not do.
var errUnsound = errors.New("events were missing, doubled or out of order, or something was left over: see above")

// Run measures.
func (c benchSSECommand) Run(ctx context.Context, env environment) (err error) {
	server, stop, err := c.server(ctx, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	size := load.Size{Clients: c.Clients, Sessions: c.Sessions, Rate: c.Rate, Duration: c.Duration, Payload: int(c.Payload)}
	measures := []load.Measure{}
	for _, s := range load.Scenarios() {
		if len(c.Scenarios) > 0 && !slices.Contains(c.Scenarios, s.Name) {
			continue
		}
		fmt.Fprintf(env.stderr, "%s …\n", s.Name)
		if err := s.Run(ctx, server, size, func(m load.Measure) { measures = append(measures, m) }); err != nil {
			return fmt.Errorf("measure %s: %w", s.Name, err)
		}
	}
	if c.JSON {
		err = printJSON(env.stdout, measures)
	} else {
		err = printMeasures(env.stdout, measures)
	}
	if err == nil && slices.ContainsFunc(measures, func(m load.Measure) bool { return !m.Sound() }) {
		err = errUnsound
	}
	return err
}

func printMeasures(out io.Writer, measures []load.Measure) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCENARIO\tCLIENTS\tSESSIONS\tEVENTS/S\tDELIVERED/S\tP50 MS\tP99 MS\tRAW\tRATIO\tCPU µS\tFOREIGN\tWRONG\tALSO")
	number := func(format string, v float64) string {
		if v == 0 {
			return "-"
		}
		return fmt.Sprintf(format, v)
	}
	for _, m := range measures {
		raw, also := "-", m.Note
		switch {
		case m.RawPerSecond > 0:
			raw = fmt.Sprintf("%.0f/s", m.RawPerSecond)
		case m.RawSeconds > 0:
			raw = fmt.Sprintf("%.2f s", m.RawSeconds)
			also = strings.TrimPrefix(also+fmt.Sprintf(", all in %.2f s", m.Seconds), ", ")
		case m.RawP99 > 0:
			raw = fmt.Sprintf("p99 %.1f", m.RawP99)
		}
		if m.Resident > 0 {
			also = fmt.Sprintf("%s a connection, ", humanize.IBytes(uint64(m.Resident))) + also
		}
		fmt.Fprintf(w, "%s: %s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%d\t%s\n", m.Scenario, m.Name, m.Clients, m.Sessions,
			number("%.0f", m.Rate), number("%.0f", m.PerSecond), number("%.1f", m.P50), number("%.1f", m.P99), raw, number("%.2f", m.Ratio),
			number("%.1f", m.CPUPerDelivery), m.Foreign, m.Missing+m.Doubled+m.Reordered, also)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the figures: %w", err)
	}
	for _, m := range measures {
		if !m.Sound() {
			fmt.Fprintf(out, "%s: %s: %d missing, %d doubled, %d out of order. %s\n", m.Scenario, m.Name, m.Missing, m.Doubled, m.Reordered, m.Failed)
		}
	}
	return nil
}

// server finds what to measure, or starts it. The caller calls stop.
func (c benchSSECommand) server(ctx context.Context, env environment) (*load.Server, func() error, error) {
	b := &benched{env: env, sync: c.Sync, roles: []string{roleAPI, roleProjector}, clients: c.Clients, Server: &load.Server{}}
	var err error
	if c.URL == "" && c.DataDir == "" && c.NATSURL == "" {
		err = b.startOwn(ctx, "")
	} else {
		err = b.find(ctx, c)
	}
	if err == nil {
		err = b.startRaw(ctx)
	}
	if err != nil {
		return nil, nil, errors.Join(err, b.stop(ctx))
	}
	return b.Server, func() error { return b.stop(ctx) }, nil
}

// find takes a server that runs already.
func (b *benched) find(ctx context.Context, c benchSSECommand) error {
	conn := connection{HTTPURL: c.URL, NATSURL: c.NATSURL, NATSAccess: c.Access}
	if c.DataDir != "" {
		found, err := readConnection(c.DataDir)
		if err != nil {
			return err
		}
		conn = found
		if c.URL != "" {
			conn.HTTPURL = c.URL
		}
	}
	b.foreign = true
	return b.use(ctx, conn)
}

// use measures the server of a connection from now on.
func (b *benched) use(ctx context.Context, conn connection) error {
	u, err := url.Parse(conn.HTTPURL)
	if err != nil || u.Host == "" {
		return fmt.Errorf("%q is no URL of a server", conn.HTTPURL)
	}
	if u.Scheme != "http" {
		return fmt.Errorf("streams are measured without TLS, and the server is %s", conn.HTTPURL)
	}
	b.closeLog(ctx)
	a := &app{log: newLogger(b.env.stderr, levelQuiet), dial: conn.dial}
	if a.js, err = a.connect("bench"); err != nil {
		return err
	}
	b.log, b.conn = a, conn
	b.Address, b.PID = u.Host, conn.PID
	b.Log = eventstore.NewJetStream(a.js, eventstore.Config{Logger: a.log})
	b.Consumers = func(ctx context.Context) (int, error) {
		stream, err := a.js.Stream(ctx, streams.EventStream)
		if err != nil {
			return 0, fmt.Errorf("read the state of stream %s: %w", streams.EventStream, err)
		}
		return stream.CachedInfo().State.Consumers, nil
	}
	return nil
}
