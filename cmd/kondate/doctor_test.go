package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
	"kondate/projections"
	"kondate/projections/pgtest"
	"kondate/projections/postgres"
	"kondate/streams"
	"kondate/streams/natstest"
)

// examined are the findings of a doctor by check.
type examined map[string]finding

// consult runs kondate doctor.
func consult(t *testing.T, args ...string) (examined, int) {
	t.Helper()
	var out, problems syncBuffer
	code := run(t.Context(), environment{
		args: append([]string{"doctor", "--json"}, args...), getenv: func(string) string { return "" },
		stdin: strings.NewReader(""), stdout: &out, stderr: &problems,
	})
	return findingsOf(t, out.String(), problems.String()), code
}

func findingsOf(t *testing.T, out, problems string) examined {
	t.Helper()
	var answer struct{ Findings []finding }
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v\n%s%s", err, out, problems)
	}
	byCheck := examined{}
	for _, f := range answer.Findings {
		if _, twice := byCheck[f.Check]; twice {
			t.Errorf("%s is found twice", f.Check)
		}
		if f.Level != levelOK && f.Do == "" {
			t.Errorf("%+v does not say what to do", f)
		}
		byCheck[f.Check] = f
	}
	return byCheck
}

// want holds a finding against its level and a part of its words.
func (e examined) want(t *testing.T, check string, l level, words string) {
	t.Helper()
	f, ok := e[check]
	if !ok || f.Level != l || !strings.Contains(f.Found, words) {
		t.Errorf("%s: %+v, want %s with %q (all: %v)", check, f, l, words, e)
	}
}

// Beside a running serve all is well, and people can read it.
func TestDoctorWell(t *testing.T) {
	t.Parallel()
	s := startSystem(t, nil)
	s.awaitReady(t, isReady)
	dir := s.cfg.DataDir
	found, code := consult(t, "--data-dir", dir)
	if code != exitOK {
		t.Errorf("exit %d", code)
	}
	for check, f := range found {
		if f.Level != levelOK {
			t.Errorf("%s: %+v", check, f)
		}
	}
	found.want(t, "log.durability", levelOK, "survives a power cut")
	found.want(t, "postgres.fsync", levelOK, "on")
	found.want(t, "projection.projector", levelOK, "one leads")
	var out syncBuffer
	if code := run(t.Context(), environment{
		args: []string{"doctor", "--data-dir", dir}, getenv: func(string) string { return "" },
		stdin: strings.NewReader(""), stdout: &out, stderr: &out,
	}); code != exitOK || !strings.Contains(out.String(), "0 problems, 0 warnings") {
		t.Errorf("exit %d\n%s", code, out.String())
	}
}

// Settings that are really in force, and not good.
func TestDoctorFindsBrokenSettings(t *testing.T) {
	t.Parallel()
	broker := natstest.NewWith(t, streams.ServerConfig{Listen: "127.0.0.1:0"}) // one copy, the broker's default sync
	js := broker.JetStream()
	stream, err := js.Stream(t.Context(), streams.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxBytes, cfg.Duplicates = -1, time.Minute // without a limit, and not as wanted
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := streams.PauseStage(t.Context(), js, menu.Task6, 0); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteConsumer(t.Context(), streams.EventStream, streams.StageConsumer(menu.Allergen)); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Start(t.Context(), postgres.Config{Dir: pgtest.Dir(t), NoSync: true}) // without fsync
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopped(t, db) })
	if err := projections.Migrate(t.Context(), db.URL()); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), db.URL())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"alter system set autovacuum = off", "select pg_reload_conf()"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	args := []string{"--data-dir", t.TempDir(), "--nats-url", broker.URL(), "--database-url", db.URL(), "--processes", "4", "--auth-mode", "keys", "--stages-ack-wait", natstest.AckWait.String()}
	found, code := consult(t, args...)
	if code != exitFailed {
		t.Errorf("exit %d", code)
	}
	found.want(t, "log.durability", levelWarning, "one copy")
	found.want(t, "log.size", levelProblem, "no limit")
	found.want(t, "log.topology", levelWarning, "duplicate_window 1m0s, the settings say 2m0s; consumer stage-allergen-v1 is missing")
	found.want(t, "stages.processes", levelProblem, "0 processes")
	found.want(t, "postgres.fsync", levelProblem, "off")
	found.want(t, "postgres.full_page_writes", levelProblem, "off")
	found.want(t, "postgres.synchronous_commit", levelWarning, "off")
	found.want(t, "postgres.autovacuum", levelWarning, "off")
	found.want(t, "postgres.connections", levelProblem, "200 of 4 processes")
	found.want(t, "projection.projector", levelProblem, "none leads")
	found.want(t, "auth.keys_file", levelProblem, "no key that is valid")
	found.want(t, "auth.token_secret", levelWarning, "each process's own")
	found.want(t, "nats.version", levelOK, natsTested)

	// What a start would refuse.
	cfg.MaxMsgs = 1000
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	found, _ = consult(t, args...)
	found.want(t, "log.topology", levelProblem, `max_msgs "1000"`)
}

func stopped(t *testing.T, db *postgres.Server) {
	t.Helper()
	if err := db.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// Stores that are away, or that take a connection and say nothing, are findings, and soon.
func TestDoctorAway(t *testing.T) {
	t.Parallel()
	hole, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is never accepted from
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hole.Close() })
	for name, addr := range map[string]string{"Silent": hole.Addr().String(), "Closed": nobodyListens} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			found, code := consult(t, "--nats-url", "nats://"+addr, "--database-url", "postgres://u@"+addr+"/d?sslmode=disable", "--nats-monitoring", "http://"+addr,
				"--data-dir", filepath.Join(t.TempDir(), "none"))
			if code != exitFailed {
				t.Errorf("exit %d", code)
			}
			found.want(t, "nats", levelProblem, "connect to NATS")
			found.want(t, "postgres", levelProblem, "")
			found.want(t, "nats.monitoring", levelProblem, "")
			if took := time.Since(began); took > 2*(brokerTimeout+databaseTimeout) {
				t.Errorf("it took %s", took)
			}
		})
	}
	t.Run("Nothing", func(t *testing.T) {
		t.Parallel()
		found, code := consult(t, "--data-dir", filepath.Join(t.TempDir(), "none"))
		if code != exitOK {
			t.Errorf("exit %d", code)
		}
		found.want(t, "serve", levelWarning, "none runs")
		found.want(t, "nats", levelWarning, "does not run")
		found.want(t, "postgres", levelWarning, "does not run")
	})
}

// A clock that is off is told about, however it is off.
func TestDoctorClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for off, want := range map[time.Duration]level{
		0: levelOK, 100 * time.Millisecond: levelOK, 2 * time.Second: levelWarning, -2 * time.Second: levelWarning,
		time.Minute: levelProblem, -time.Minute: levelProblem,
	} {
		d := &doctor{now: func() time.Time { return now }}
		d.checkClock("clock", now, now.Add(off))
		if got := d.findings[0]; got.Level != want {
			t.Errorf("off by %s: %+v", off, got)
		}
	}
	// And with a real broker and a real Postgres: the doctor's own clock is a minute fast.
	s := startSystem(t, nil)
	s.awaitReady(t, isReady)
	cfg := s.cfg
	d := &doctor{cfg: cfg, processes: 1, now: func() time.Time { return time.Now().Add(time.Minute) }}
	if err := d.examine(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, f := range d.findings {
		if strings.HasSuffix(f.Check, ".clock") && f.Level != levelProblem {
			t.Errorf("%+v", f)
		}
	}
	if d.count(levelProblem) != 2 {
		t.Errorf("%+v", d.findings)
	}
}

// A process that may open few files cannot serve the streams of its settings.
func TestDoctorOpenFiles(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", "ulimit -n 256; exec \"$0\" doctor --json --data-dir /nowhere", os.Args[0]) //nolint:noctx // it ends by itself
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("%v", err)
	}
	findingsOf(t, string(out), "").want(t, "host.open_files", levelProblem, "may open 256 files")
}

// What only the monitoring knows: a broker that syncs every two minutes.
func TestDoctorMonitoring(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		jetstream string
		level     level
		words     string
	}{
		"Default": {"{store_dir: %q}", levelWarning, "fsynced every 2m0s"},
		"Always":  {"{store_dir: %q, sync_interval: always}", levelOK, "before a message is acknowledged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := monitoredServer(t, fmt.Sprintf(test.jetstream, t.TempDir()))
			d := &doctor{now: time.Now}
			d.checkMonitoring(t.Context(), url)
			byCheck := examined{}
			for _, f := range d.findings {
				byCheck[f.Check] = f
			}
			byCheck.want(t, "nats.sync.one", test.level, test.words)
			byCheck.want(t, "nats.version.one", levelOK, natsTested)
			byCheck.want(t, "nats.clock.one", levelOK, "")
		})
	}
}

// monitoredServer runs a nats-server, and returns the URL of its monitoring.
func monitoredServer(t *testing.T, jetstream string) string {
	t.Helper()
	ports := natstest.FreePorts(t, 2)
	file := filepath.Join(t.TempDir(), "nats.conf")
	text := fmt.Sprintf("server_name: one\nlisten: 127.0.0.1:%d\nhttp: 127.0.0.1:%d\njetstream %s\n", ports[0], ports[1], jetstream)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "--config", file) //nolint:noctx // the test binary itself; the test ends it
	cmd.Env = append(os.Environ(), asNATS+"=1")
	if _, err := cmd.StdinPipe(); err != nil { // closed when this process ends
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // its store goes with it
		_ = cmd.Wait()
	})
	url := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	eventually(t, "the monitoring to answer", func() error {
		_, err := fetch(url+"/healthz", "")
		return err
	})
	return url
}

// Certificates that ended, or will soon, are told about; so are files that hold none.
func TestDoctorCertificates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	until := func(end time.Time) string {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-365 * 24 * time.Hour), NotAfter: end}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	good, soon, ended := until(now.Add(90*24*time.Hour)), until(now.Add(7*24*time.Hour)), until(now.Add(-time.Hour))
	for name, test := range map[string]struct {
		setting, content string
		level            level
	}{
		"good": {"http.tls_cert", good, levelOK}, "soon": {"http.tls_cert", good + soon, levelWarning}, "ended": {"http.tls_cert", soon + ended + good, levelProblem},
		"none": {"http.tls_cert", "no PEM", levelProblem}, "other": {"http.tls_cert", "-----BEGIN X-----\n-----END X-----\n" + good, levelOK},
		"renewed CA": {"nats.tls_ca", ended + good, levelWarning}, "soon CA": {"nats.tls_ca", soon + good, levelWarning},
		"ended CA": {"nats.tls_ca", ended + ended, levelProblem}, "good CA": {"nats.tls_ca", good, levelOK},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		d := &doctor{now: func() time.Time { return now }}
		d.checkCertificateFile(test.setting, path)
		if got := d.findings[0]; got.Level != test.level {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A copy that is away is a problem, the last one that may be above all; one that lags is none.
func TestDoctorReplicas(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		state streams.LogState
		level level
		do    string
		words string
	}{
		"Well":    {streams.LogState{Replicas: 3, Leader: "one"}, levelOK, "", "3 copies, leader one"},
		"Lagging": {streams.LogState{Replicas: 3, Leader: "one", Lagging: []string{"two by 17"}}, levelWarning, "LogReplicaLags", "behind: two by 17"},
		"Away":    {streams.LogState{Replicas: 3, Leader: "one", Offline: []string{"two"}, Lagging: []string{"three by 1"}}, levelProblem, "one more gone", "away: two"},
		"OfFive":  {streams.LogState{Replicas: 5, Leader: "one", Offline: []string{"two"}}, levelProblem, "bring the server back (", "away: two"},
	} {
		d := &doctor{now: time.Now}
		d.checkReplicas(test.state)
		if f := d.findings[0]; f.Level != test.level || !strings.Contains(f.Found, test.words) || !strings.Contains(f.Do, test.do) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// A small disk under the data dir is no problem of stores that are elsewhere.
func TestDoctorDiskOfOthers(t *testing.T) {
	t.Parallel()
	d := &doctor{now: time.Now}
	d.cfg.DataDir, d.cfg.NATS.URL, d.cfg.Database.URL = "/proc", "nats://elsewhere", "postgres://elsewhere" // it has no room at all
	d.checkDisk()
	d.cfg.NATS.URL = ""
	d.checkDisk()
	if d.findings[0].Level != levelOK || d.findings[1].Level != levelProblem {
		t.Errorf("%+v", d.findings)
	}
}
