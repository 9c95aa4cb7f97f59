package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
)

const (
	// brokerTimeout, databaseTimeout and monitoringTimeout bound the looks at each of them: one that hangs hides no other.
	brokerTimeout     = 8 * time.Second
	databaseTimeout   = 8 * time.Second
	monitoringTimeout = 3 * time.Second
	// natsOldest has all that the log needs; natsTested is the version of the embedded server, with which all is tested.
	natsOldest = "2.12.0"
	natsTested = server.VERSION
	// apiLevel is what atomic batches and schedules need.
	apiLevel = 2
	// nearly is the share of a limit that is worth a warning.
	nearly = 0.8
	// The times of events are their writer's: a clock that is off by more than skewWarning is seen in them, and one off by
	// more than skewProblem expires sessions and starts retries at the wrong time.
	skewWarning = 500 * time.Millisecond
	skewProblem = 10 * time.Second
)

const brokerAway = "the connection is refused, or nothing answers there: start it, or correct nats.url"

// checkBroker looks at the broker, at the log, and at who works on it.
func (d *doctor) checkBroker(ctx context.Context, a *app) {
	if d.found.NATSURL+d.found.NATSSocket == "" && d.cfg.NATS.URL == "" {
		d.add(levelWarning, "nats", "start kondate serve and look again", "the embedded server does not run")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	if err := a.openLogOf(ctx, d.found); err != nil {
		d.add(levelProblem, "nats", brokerAway, "%v", err)
		return
	}
	nc := a.js.Conn()
	d.checkVersion("nats.version", nc.ConnectedServerVersion(), natsOldest, natsTested)
	d.expect(nc.MaxPayload() >= streams.MinPayload, levelProblem, "nats.max_payload", "set max_payload to 2MB or more",
		"messages have %s at most", humanize.IBytes(uint64(nc.MaxPayload()))) //nolint:gosec // a size
	if state, err := nc.TLSConnectionState(); err == nil && len(state.PeerCertificates) > 0 {
		d.checkCertificate("nats.certificate", state.PeerCertificates[0])
	}
	account, err := a.js.AccountInfo(ctx)
	if err != nil {
		d.add(levelProblem, "nats.jetstream", "enable JetStream for this account, and see that its servers agree on a leader", "%v", err)
		return
	}
	d.expect(account.API.Level >= apiLevel, levelProblem, "nats.api_level", "run NATS "+natsOldest+" or newer on every server", "JetStream API level %d", account.API.Level)
	d.checkStream(ctx, a, account)
	d.checkTopology(ctx, a)
	d.checkStages(ctx, a, nc)
}

// checkVersion compares a version with the oldest that works and the one that is tested.
func (d *doctor) checkVersion(check, have, oldest, tested string) {
	switch {
	case older(have, oldest):
		d.add(levelProblem, check, "upgrade to "+tested, "%s, needed is %s", have, oldest)
	case older(have, tested):
		d.add(levelWarning, check, "upgrade to "+tested, "%s, tested is %s", have, tested)
	default:
		d.ok(check, "%s", have)
	}
}

// older compares versions such as 2.15.2; one that cannot be read is old.
func older(a, b string) bool {
	var x, y [3]int
	_, _ = fmt.Sscanf(a, "%d.%d.%d", &x[0], &x[1], &x[2]) // what is missing counts as 0
	_, _ = fmt.Sscanf(b, "%d.%d.%d", &y[0], &y[1], &y[2])
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

// checkStream looks at the stream of the log.
func (d *doctor) checkStream(ctx context.Context, a *app, account *jetstream.AccountInfo) {
	asked := d.now()
	s, err := streams.LookAtLog(ctx, a.js)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		d.add(levelWarning, "log", "start kondate serve, which makes it", "there is no stream %s", streams.EventStream)
		return
	}
	if err != nil {
		d.add(levelProblem, "log", "see that most of the servers run and reach each other: without them the log has no leader", "%v", err)
		return
	}
	d.checkClock("nats.clock", asked, s.Time)
	d.checkDurability(s.Replicas)
	d.checkReplicas(s)
	d.checkSize(s, account)
	subjects := float64(s.Subjects) / streams.MaxSubjects
	d.expect(subjects < nearly, levelWarning, "log.subjects", "archive old sessions (kondate archive): their subjects go with them",
		"%d subjects, the broker slows above %d", s.Subjects, streams.MaxSubjects)
	d.expect(s.MaxConsumers <= 0 || float64(s.Consumers) < nearly*float64(s.MaxConsumers), levelWarning, "log.consumers",
		"remove consumers that nobody reads (nats consumer report "+streams.EventStream+")", "%d consumers of %d", s.Consumers, s.MaxConsumers)
}

// checkClock compares our clock with that of somebody who answered after we asked.
func (d *doctor) checkClock(check string, asked, theirs time.Time) {
	answered := d.now()
	if theirs.IsZero() {
		return
	}
	// Theirs lies between asking and answer, if both clocks agree.
	var skew time.Duration
	switch {
	case theirs.Before(asked):
		skew = asked.Sub(theirs)
	case theirs.After(answered):
		skew = theirs.Sub(answered)
	}
	l := levelWarning
	if skew >= skewProblem {
		l = levelProblem
	}
	d.expect(skew < skewWarning, l, check, "synchronise the clocks of both machines (chrony, systemd-timesyncd)", "differs from this machine's by %s", skew.Round(time.Millisecond))
}

// checkDurability says which guarantee is in force, and what it does not cover.
func (d *doctor) checkDurability(replicas int) {
	const check = "log.durability"
	if setting := d.found.NATSSync; setting != "" && d.cfg.NATS.URL == "" { // embedded, in the serve that runs
		policy, err := streams.ParseSync(setting)
		if err != nil {
			d.add(levelProblem, check, "start kondate serve again", "%v", err)
			return
		}
		d.expect(setting == "always", levelWarning, check, "set nats.sync to always", "%s", streams.Durability(replicas, policy))
		return
	}
	if replicas < 2 {
		d.add(levelWarning, check, "run three servers and set nats.replicas to 3; with one, sync_interval: always in its configuration",
			"one copy: what its server had not yet synced is lost with the machine's power, everything with its disk (kondate restore brings back what the rows had seen)")
		return
	}
	if len(d.monitoring) == 0 {
		d.add(levelWarning, check, "name the servers with --nats-monitoring, and this says so",
			"%d copies: nothing is lost while most of the servers live; whether it survives a power cut of all of them is the broker's setting sync_interval, which clients cannot see", replicas)
		return
	}
	d.ok(check, "%d copies: nothing is lost while most of the servers live; for all at once see nats.sync", replicas)
}

// checkReplicas looks at the copies of the log. One that lags is there, and catches up by itself.
func (d *doctor) checkReplicas(s streams.LogState) {
	if s.Leader == "" {
		return
	}
	const check = "log.replicas"
	found := fmt.Sprintf("%s, leader %s", english.Plural(s.Replicas, "copy", "copies"), s.Leader)
	if len(s.Lagging) > 0 {
		found += ", behind: " + strings.Join(s.Lagging, ", ")
	}
	switch majority := s.Replicas/2 + 1; {
	case len(s.Offline) > 0:
		do := "bring the server back"
		if s.Replicas-len(s.Offline) <= majority {
			do += ": with one more gone nothing can be appended"
		}
		d.add(levelProblem, check, do+" (see the runbook LogReplicaOffline)", "%s, away: %s", found, strings.Join(s.Offline, ", "))
	case len(s.Lagging) > 0:
		d.add(levelWarning, check, "look again: it catches up by itself, and if it does not, see the runbook LogReplicaLags", "%s", found)
	default:
		d.ok(check, "%s", found)
	}
}

// checkSize compares the log with its limit, and that with what the account may store.
func (d *doctor) checkSize(s streams.LogState, account *jetstream.AccountInfo) {
	limit := s.MaxBytes
	if limit <= 0 {
		d.add(levelProblem, "log.size", "set nats.max_bytes", "it has no limit: it grows until the disk is full, and a broker with a full disk takes nothing until it is started anew")
		return
	}
	used := float64(s.Bytes) / float64(limit)
	l := levelWarning
	if used > 0.95 {
		l = levelProblem
	}
	d.expect(used < nearly, l, "log.size", "archive old sessions (kondate archive), or raise nats.max_bytes: a full log refuses submissions",
		"%s of %s", humanize.IBytes(s.Bytes), humanize.IBytes(uint64(limit)))
	if left := uint64(limit) - min(s.Bytes, uint64(limit)); d.found.NATSSocket != "" && d.free > 0 { // embedded: on the disk of the data dir
		d.expect(left < d.free, levelWarning, "log.disk", "make room, or lower nats.max_bytes: a full disk stops the broker, a full log only refuses",
			"the log may grow by %s, its disk has %s free", humanize.IBytes(left), humanize.IBytes(d.free))
	}
	// The log's own limit counts once for each copy.
	if store := account.Limits.MaxStore; store > 0 {
		want := limit * int64(s.Replicas)
		d.expect(store >= want, levelProblem, "nats.account", "raise the account's limit of file storage, or lower nats.max_bytes",
			"the account may store %s, the log may grow to %s in %d copies", humanize.IBytes(uint64(store)), humanize.IBytes(uint64(want)), s.Replicas) //nolint:gosec // positive
	}
}

// checkTopology says what the next start would make, change or refuse.
func (d *doctor) checkTopology(ctx context.Context, a *app) {
	topology := a.topology()
	topology.AckWait = d.cfg.Stages.AckWait
	changes, err := streams.Drift(ctx, a.js, topology)
	switch {
	case err != nil:
		d.add(levelProblem, "log.topology", "kondate serve refuses to start like this", "%v", err)
	case len(changes) > 0:
		d.add(levelWarning, "log.topology", "start kondate serve with these settings, which makes it so; or give doctor the settings of serve", "%s", strings.Join(changes, "; "))
	default:
		d.ok("log.topology", "streams and consumers are as wanted")
	}
}

// checkStages looks at who runs the stages, and what waits for them.
func (d *doctor) checkStages(ctx context.Context, a *app, nc *nats.Conn) {
	reports, err := streams.AskReports(ctx, nc)
	if err != nil {
		d.add(levelWarning, "stages", "look again", "%v", err)
		return
	}
	d.expect(len(reports) > 0, levelProblem, "stages.processes", "start kondate serve --roles stages", "run in %s", english.Plural(len(reports), "process", "processes"))
	backlogs, err := streams.Backlogs(ctx, a.js)
	if err != nil {
		d.add(levelWarning, "stages.paused", "look again", "%v", err)
		return
	}
	var paused []string
	for _, b := range backlogs {
		if b.Paused {
			paused = append(paused, b.Stage.String())
		}
	}
	d.expect(len(paused) == 0, levelWarning, "stages.paused", "kondate stages resume STAGE, if nobody wants that any more", "%s", orNone(paused))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// checkMonitoring asks a server of the broker what its clients cannot see.
func (d *doctor) checkMonitoring(ctx context.Context, url string) {
	ctx, cancel := context.WithTimeout(ctx, monitoringTimeout)
	defer cancel()
	asked := d.now()
	status, err := monitored(ctx, strings.TrimSuffix(url, "/")+"/varz")
	if err != nil {
		d.add(levelProblem, "nats.monitoring", "start the server, or correct --nats-monitoring", "%v", err)
		return
	}
	of := func(check string) string { return check + "." + status.Name }
	config := status.JetStream.Config
	if config == nil {
		d.add(levelProblem, of("nats.jetstream"), "enable JetStream in its configuration", "%s has none", status.Name)
		return
	}
	d.checkVersion(of("nats.version"), status.Version, natsOldest, natsTested)
	d.checkClock(of("nats.clock"), asked, status.Now)
	if config.SyncAlways {
		d.ok(of("nats.sync"), "fsynced before a message is acknowledged")
	} else {
		d.add(levelWarning, of("nats.sync"), "set sync_interval: always in the section jetstream of its configuration",
			"fsynced every %s: what came since is lost if all copies lose their power at once", config.SyncInterval)
	}
	if stats := status.JetStream.Stats; stats != nil && config.MaxStore > 0 {
		d.expect(float64(stats.Store) < nearly*float64(config.MaxStore), levelWarning, of("nats.store"), "raise max_file_store, if its disk has room, or archive old sessions",
			"%s of %s", humanize.IBytes(stats.Store), humanize.IBytes(uint64(config.MaxStore)))
	}
}

func monitored(ctx context.Context, url string) (*server.Varz, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the broker's monitoring: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the broker's monitoring: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the broker's monitoring: %s answers %s", url, resp.Status)
	}
	var status server.Varz
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&status); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return &status, nil
}
