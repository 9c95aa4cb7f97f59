package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"
	"gopkg.in/yaml.v3"

	"kondate/projections/pgtest"
	"kondate/projections/postgres"
	"kondate/streams/natstest"
)

// asNATS makes the test binary a nats-server, which reads its own command line.
const asNATS = "KONDATE_TEST_AS_NATS"

// natsServer is the main function of nats-server, but for its messages.
func natsServer() {
	opts, err := server.ConfigureOptions(flag.NewFlagSet("nats-server", flag.ExitOnError), os.Args[1:], func() {}, func() {}, func() {})
	if err != nil {
		server.PrintAndDie(err.Error())
	}
	opts.HTTPHost = opts.Host // the only one that no flag sets
	s, err := server.NewServer(opts)
	if err != nil {
		server.PrintAndDie(err.Error())
	}
	s.ConfigureLogger()
	s.Start()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends with the parent
		s.Shutdown()
	}()
	s.WaitForShutdown()
}

// fleet is what docker-compose.yml names, as processes of this machine.
type fleet struct {
	t        *testing.T
	project  *types.Project
	monitors []string          // URLs of the broker's servers
	settings map[string]string // of api-1
	nats     string            // nats.url
	database *postgres.Server
	keys     string // file
	programs map[string]*process
}

// startFleet starts the services with the Compose file's own command lines and variables. What differs is said here:
// ports, folders, and that Postgres is this machine's.
func startFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, project: composeProject(t), keys: filepath.Join(t.TempDir(), "keys.json"), programs: map[string]*process{}}
	f.startNATS()
	f.startPostgres()
	for _, service := range programs(f.project) {
		dir := pgtest.Dir(t)
		env := environmentOf(service)
		env["KONDATE_DATA_DIR"], env["KONDATE_HTTP_ADDR"] = dir, "127.0.0.1:0"
		env["KONDATE_NATS_URL"], env["KONDATE_DATABASE_URL"] = f.nats, f.database.URL()
		env["KONDATE_AUTH_KEYS_FILE"] = f.keys
		if service.Name == "api-1" {
			f.settings = env
		}
		f.programs[service.Name] = launch(t, dir, variables(env), service.Command...)
	}
	for _, p := range f.programs {
		p.await()
	}
	return f
}

func variables(env map[string]string) []string {
	var list []string
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

func (f *fleet) startNATS() {
	f.t.Helper()
	names := []string{"nats-1", "nats-2", "nats-3"}
	ports := natstest.FreePorts(f.t, 3*len(names))
	var urls, routes []string
	for i := range names {
		urls = append(urls, fmt.Sprintf("nats://kondate:%s@127.0.0.1:%d", composeSecrets["NATS_PASSWORD"], ports[3*i]))
		routes = append(routes, fmt.Sprintf("nats://kondate:%s@127.0.0.1:%d", composeSecrets["NATS_CLUSTER_PASSWORD"], ports[3*i+1]))
		f.monitors = append(f.monitors, fmt.Sprintf("http://127.0.0.1:%d", ports[3*i+2]))
	}
	f.nats = strings.Join(urls, ",")
	for i, name := range names {
		service := f.project.Services[name]
		args := append([]string(nil), service.Command...)
		for j, arg := range args {
			switch arg {
			case "/etc/nats/nats.conf":
				args[j] = filepath.Join(deployRoot, "deploy/nats/nats.conf")
			case "/data":
				args[j] = f.t.TempDir()
			}
		}
		args = append(args, "-a", "127.0.0.1", "-p", fmt.Sprint(ports[3*i]), "-m", fmt.Sprint(ports[3*i+2]),
			"--cluster", routes[i], "--routes", strings.Join(routes, ","))
		cmd := exec.Command(os.Args[0], args...) //nolint:noctx // the test binary itself; the test ends it
		cmd.Env = append(append(os.Environ(), asNATS+"=1"), variables(environmentOf(service))...)
		log := &syncBuffer{}
		cmd.Stdout, cmd.Stderr = log, log
		if _, err := cmd.StdinPipe(); err != nil { // closed when this process ends
			f.t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() {
			_ = cmd.Process.Kill() // its store goes with it
			_ = cmd.Wait()
			if f.t.Failed() {
				f.t.Logf("%s:\n%s", name, log)
			}
		})
	}
	// The probe of the Compose file.
	test := f.project.Services["nats-1"].HealthCheck.Test
	probe := strings.TrimPrefix(test[len(test)-1], "http://127.0.0.1:8222")
	for _, monitor := range f.monitors {
		eventually(f.t, "the broker to be healthy", func() error {
			_, err := fetch(monitor+probe, "")
			return err
		})
	}
}

// startPostgres starts one on this machine, which has to understand the settings.
func (f *fleet) startPostgres() {
	f.t.Helper()
	var err error
	if f.database, err = postgres.Start(f.t.Context(), postgres.Config{Dir: pgtest.Dir(f.t), NoSync: true}); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := f.database.Stop(context.Background()); err != nil {
			f.t.Error(err)
		}
	})
	conn, err := pgx.Connect(f.t.Context(), f.database.URL())
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close(f.t.Context()) //nolint:errcheck // it was only used
	for _, arg := range f.project.Services["postgres"].Command {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			continue
		}
		if _, err := conn.Exec(f.t.Context(), fmt.Sprintf("alter system set %s = '%s'", pgx.Identifier{name}.Sanitize(), value)); err != nil {
			f.t.Errorf("Postgres does not take %s: %v", arg, err)
		}
	}
}

// key makes an API key of the role admin.
func (f *fleet) key() string {
	f.t.Helper()
	var out, problems syncBuffer
	code := run(f.t.Context(), environment{
		args:   []string{"keys", "create", "--name", "prometheus", "--role", "admin", "--auth-keys-file", f.keys},
		getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: &out, stderr: &problems,
	})
	if code != exitOK {
		f.t.Fatal(problems.String())
	}
	return strings.TrimSpace(out.String())
}

// TestComposeRuns starts what the Compose file names, without its containers, and puts a menu through it.
func TestComposeRuns(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	key := f.key()
	first := &client{base: f.programs["api-1"].conn.HTTPURL, key: key, http: &http.Client{}}
	second := &client{base: f.programs["api-2"].conn.HTTPURL, key: key, http: &http.Client{}}
	answer, err := first.submit(t.Context(), body(t, 20))
	if err != nil {
		t.Fatal(err)
	}
	seqs, err := follow(t.Context(), second, answer.StreamURL)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := second.rows(t.Context(), answer.SessionID, seqs[len(seqs)-1])
	if err != nil || len(rows) != 20 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range rows {
		if r.ProcessingStatus != "completed" {
			t.Errorf("%s is %s", r.Name, r.ProcessingStatus)
		}
	}
	// The token of a stream's address opens it at every api.
	if _, err := follow(t.Context(), &client{base: second.base, http: &http.Client{}}, answer.StreamURL); err != nil {
		t.Errorf("with the token alone: %v", err)
	}
	f.scrape(key)
	f.examine()
	// What the alert PostgresAway looks at.
	if err := f.database.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	gone := regexp.MustCompile(`(?m)^kondate_postgres_connections\{state="(idle|in_use)"\} 0$`)
	for _, name := range []string{"api-1", "projector-1", "projector-2"} {
		eventually(t, name+" to say that Postgres is away", func() error {
			page, err := fetch(f.programs[name].conn.HTTPURL+"/metrics", key)
			if n := len(gone.FindAllString(page, -1)); err == nil && n != 2 {
				err = fmt.Errorf("%d states of connections are 0", n)
			}
			return err
		})
	}
}

// examine runs the doctor as docs/deploy.md does. Only this machine's Postgres is not as it should be: it does not sync,
// and takes fewer connections.
func (f *fleet) examine() {
	t := f.t
	t.Helper()
	var out, problems syncBuffer
	_ = run(t.Context(), environment{
		args:   []string{"doctor", "--json", "--processes", "6", "--nats-monitoring", strings.Join(f.monitors, ",")},
		getenv: func(name string) string { return f.settings[name] }, stdin: strings.NewReader(""), stdout: &out, stderr: &problems,
	})
	found := findingsOf(t, out.String(), problems.String())
	for check, finding := range found {
		if finding.Level != levelOK && !strings.HasPrefix(check, "postgres.") {
			t.Errorf("%s: %+v", check, finding)
		}
	}
	found.want(t, "log.durability", levelOK, "3 copies")
	found.want(t, "nats.sync.nats-2", levelOK, "before a message is acknowledged")
}

// scrape reads every target as Prometheus would.
func (f *fleet) scrape(key string) {
	t := f.t
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deployRoot, "deploy/prometheus/prometheus.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Jobs []struct {
			Name    string `yaml:"job_name"`
			Targets []struct {
				Targets []string
				Labels  map[string]string
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	missing := maps.Clone(f.programs)
	for _, job := range config.Jobs {
		if job.Name != "kondate" {
			continue
		}
		for _, group := range job.Targets {
			for _, target := range group.Targets {
				name, port, err := net.SplitHostPort(target)
				if err != nil || port != "8080" || f.programs[name] == nil {
					t.Fatalf("%s is no service that serves (%v)", target, err)
				}
				delete(missing, name)
				page, err := fetch(f.programs[name].conn.HTTPURL+"/metrics", key)
				if err != nil {
					t.Errorf("%s: %v", target, err)
					continue
				}
				if want := fmt.Sprintf("kondate_role{role=%q} 1", group.Labels["service"]); !strings.Contains(page, want) {
					t.Errorf("%s does not say %s", target, want)
				}
			}
		}
	}
	for name := range missing {
		t.Errorf("%s is not scraped", name)
	}
}

// fetch reads a page.
func fetch(url, key string) (string, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil) //nolint:noctx // the client has a time-out
	if err != nil {
		return "", err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", url, resp.Status, raw)
	}
	return string(raw), err
}

// eventually tries something until it succeeds.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain for %s: %v", what, err)
		}
	}
}
