package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/build"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/nats-io/nats-server/v2/server"

	"kondate/streams"
)

// deployRoot is where docker-compose.yml lies.
const deployRoot = "../.."

// composeSecrets are what an operator fills into .env.
var composeSecrets = map[string]string{
	// The broker's configuration would take an unquoted 1e3… for a number.
	"NATS_PASSWORD": "1e3456", "NATS_CLUSTER_PASSWORD": "2e3456", "POSTGRES_PASSWORD": "p", "GRAFANA_ADMIN_PASSWORD": "g", "PROMETHEUS_KEY": "kdt_",
	"KONDATE_AUTH_TOKEN_SECRET": "0123456789abcdef0123456789abcdef",
}

// loadCompose reads docker-compose.yml as Docker Compose does.
func loadCompose(t *testing.T, env map[string]string) (*types.Project, error) {
	t.Helper()
	root, err := filepath.Abs(deployRoot)
	if err != nil {
		t.Fatal(err)
	}
	return loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: root, Environment: maps.Clone(env), // it adds to it
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(root, "docker-compose.yml")}},
	})
}

func composeProject(t *testing.T) *types.Project {
	t.Helper()
	project, err := loadCompose(t, composeSecrets)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func environmentOf(service types.ServiceConfig) map[string]string {
	env := map[string]string{}
	for name, value := range service.Environment {
		if value != nil {
			env[name] = *value
		}
	}
	return env
}

// programs are the services that run this program.
func programs(project *types.Project) []types.ServiceConfig {
	var found []types.ServiceConfig
	for _, service := range project.Services {
		if strings.HasPrefix(service.Image, "kondate:") {
			found = append(found, service)
		}
	}
	return found
}

// parseProgram parses a command line as the program does, in an environment.
func parseProgram(env map[string]string, args []string) (*commandLine, error) {
	var cli commandLine
	resolver, err := loadSettings(func(name string) string { return env[name] }, "")
	if err != nil {
		return nil, err
	}
	parser, err := kong.New(&cli, kong.Resolvers(resolver), kong.Exit(func(int) {}))
	if err != nil {
		return nil, err
	}
	_, err = parser.Parse(args)
	return &cli, err
}

// settingNames are the variables that serve knows.
func settingNames(t *testing.T) map[string]bool {
	t.Helper()
	parser, err := kong.New(&commandLine{})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, command := range parser.Model.Children {
		if command.Name == "serve" {
			for _, flag := range command.Flags {
				known[envName(flag.Name)] = true
			}
		}
	}
	return known
}

// The Compose file says what the program, the broker and Compose itself understand.
func TestCompose(t *testing.T) {
	t.Parallel()
	project := composeProject(t)
	t.Run("Images", func(t *testing.T) {
		t.Parallel()
		for _, service := range project.Services {
			if _, tag, ok := strings.Cut(service.Image, ":"); !ok || tag == "latest" {
				t.Errorf("%s runs %s: pin it", service.Name, service.Image)
			}
			if limits := service.Deploy; limits == nil || limits.Resources.Limits == nil || limits.Resources.Limits.MemoryBytes == 0 {
				t.Errorf("%s may take all memory", service.Name)
			}
			if service.Restart != "unless-stopped" {
				t.Errorf("%s is not started again", service.Name)
			}
		}
	})
	t.Run("MountedFiles", func(t *testing.T) {
		t.Parallel()
		for _, service := range project.Services {
			for _, volume := range service.Volumes {
				if volume.Type != types.VolumeTypeBind {
					continue
				}
				if _, err := os.Stat(volume.Source); err != nil {
					t.Errorf("%s mounts what is not there: %v", service.Name, err)
				}
			}
		}
	})
	t.Run("Commands", func(t *testing.T) {
		t.Parallel()
		known := settingNames(t)
		roles := map[string]int{}
		for _, service := range programs(project) {
			env := environmentOf(service)
			for name := range env {
				if strings.HasPrefix(name, "KONDATE_") && !known[name] {
					t.Errorf("%s sets %s, which serve does not know", service.Name, name)
				}
			}
			cli, err := parseProgram(env, service.Command)
			if err != nil {
				t.Errorf("%s runs %q: %v", service.Name, service.Command, err)
				continue
			}
			for _, role := range cli.Serve.Roles {
				roles[role]++
			}
			// What runs in one process stops in order: streams, requests, then what was opened.
			if grace := time.Duration(*service.StopGracePeriod); grace < stopTimeout+2*httpStop+10*time.Second {
				t.Errorf("%s is killed after %s", service.Name, grace)
			}
		}
		for _, role := range allRoles() {
			if roles[role] != 2 {
				t.Errorf("%d services have the role %s", roles[role], role)
			}
		}
	})
	t.Run("Connections", func(t *testing.T) {
		t.Parallel()
		var most int
		for _, service := range programs(project) {
			cli, err := parseProgram(environmentOf(service), service.Command)
			if err != nil {
				t.Fatal(err)
			}
			most += cli.Serve.Database.PoolSize + cli.Serve.Database.MaxOverflow
		}
		if most > 150 {
			t.Errorf("the processes may open %d connections to a Postgres of 200", most)
		}
	})
	t.Run("Ports", func(t *testing.T) {
		t.Parallel()
		for _, service := range project.Services {
			for _, port := range service.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("%s publishes port %s to other machines", service.Name, port.Published)
				}
			}
		}
	})
	t.Run("Secrets", func(t *testing.T) {
		t.Parallel()
		example := exampleEnv(t)
		for name := range composeSecrets {
			if value, ok := example[name]; !ok || value != "" {
				t.Errorf("deploy/example.env has %s=%s", name, value)
			}
			if name == "PROMETHEUS_KEY" {
				continue // Compose looks for a secret's value when the container is made
			}
			without := map[string]string{}
			for other, value := range composeSecrets {
				if other != name {
					without[other] = value
				}
			}
			if _, err := loadCompose(t, without); err == nil || !strings.Contains(err.Error(), "deploy/example.env") {
				t.Errorf("without %s: %v", name, err)
			}
		}
	})
}

// exampleEnv reads deploy/example.env.
func exampleEnv(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deployRoot, "deploy/example.env"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			values[name] = value
		}
	}
	return values
}

// The broker's own parser reads its configuration.
func TestNATSConfiguration(t *testing.T) { //nolint:paralleltest // it sets the environment
	for name, value := range environmentOf(composeProject(t).Services["nats-1"]) {
		t.Setenv(name, value)
	}
	opts, err := server.ProcessConfigFile(filepath.Join(deployRoot, "deploy/nats/nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case !opts.SyncAlways:
		t.Error("an acknowledged event may be lost with the power of three machines")
	case opts.MaxPayload < streams.MinPayload:
		t.Errorf("messages have %d bytes at most, the log needs %d", opts.MaxPayload, streams.MinPayload)
	case opts.Password != "1e3456":
		t.Errorf("the password is %q", opts.Password)
	case len(opts.Routes) != 3 || opts.Cluster.Name == "":
		t.Errorf("routes %v of cluster %q", opts.Routes, opts.Cluster.Name)
	case opts.Cluster.Username != "kondate" || opts.Cluster.Password != "2e3456":
		t.Errorf("%q with the password %q may join the cluster", opts.Cluster.Username, opts.Cluster.Password)
	}
	for _, route := range opts.Routes {
		if route.User.String() != "kondate:2e3456" {
			t.Errorf("the route %s does not say who it is", route)
		}
	}
	var most ByteSize
	if err := most.UnmarshalText([]byte(exampleEnv(t)["KONDATE_NATS_MAX_BYTES"])); err != nil {
		t.Fatal(err)
	}
	if int64(most)+4<<30 > opts.JetStreamMaxStore {
		t.Errorf("a log of %d bytes does not fit into max_file_store, %d", most, opts.JetStreamMaxStore)
	}
}

// What the image's build needs is not left out, and its probe is a command.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(deployRoot, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	probe := regexp.MustCompile(`(?m)^HEALTHCHECK.* CMD \["/kondate", "(\w+)"\]$`).FindSubmatch(raw)
	if probe == nil {
		t.Fatal("there is no probe")
	}
	if _, err := parseProgram(nil, []string{string(probe[1])}); err != nil {
		t.Error(err)
	}
	ignored := dockerIgnores(t)
	for _, path := range buildInputs(t) {
		if ignored(path) {
			t.Errorf(".dockerignore leaves out %s, which the build needs", path)
		}
	}
	for _, path := range []string{"README.md", "cmd/kondate/compose_test.go", ".git/config", ".env"} {
		if !ignored(path) {
			t.Errorf("the build gets %s", path)
		}
	}
	goMod, err := os.ReadFile(filepath.Join(deployRoot, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(goMod)[1]
	if !bytes.Contains(raw, []byte("FROM golang:"+string(version))) {
		t.Errorf("the image is built with another Go than go.mod names, %s", version)
	}
}

// dockerIgnores reads .dockerignore as a build does.
func dockerIgnores(t *testing.T) func(path string) bool {
	t.Helper()
	file, err := os.Open(filepath.Join(deployRoot, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return func(path string) bool {
		left, err := matcher.MatchesOrParentMatches(path)
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
}

// buildInputs are the files that packages are built from: their code, and what it embeds.
func buildInputs(t *testing.T) []string {
	t.Helper()
	inputs := []string{"go.mod", "go.sum"}
	root := os.DirFS(deployRoot)
	err := fs.WalkDir(root, ".", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if name := entry.Name(); name == "testdata" || len(name) > 1 && strings.HasPrefix(name, ".") {
			return fs.SkipDir
		}
		pkg, err := build.ImportDir(filepath.Join(deployRoot, dir), 0)
		if _, ok := errors.AsType[*build.NoGoError](err); ok {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range pkg.GoFiles {
			inputs = append(inputs, path.Join(dir, name))
		}
		for _, pattern := range pkg.EmbedPatterns {
			embedded, err := filesUnder(root, path.Join(dir, strings.TrimPrefix(pattern, "all:")))
			if err != nil {
				return err
			}
			inputs = append(inputs, embedded...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return inputs
}

// filesUnder are the files that a pattern of go:embed names: of a folder, all in it.
func filesUnder(root fs.FS, pattern string) (files []string, err error) {
	matches, err := fs.Glob(root, pattern)
	if err != nil {
		return nil, err
	}
	for _, match := range matches {
		err = errors.Join(err, fs.WalkDir(root, match, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				files = append(files, path)
			}
			return err
		}))
	}
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("nothing matches %s", pattern)
	}
	return files, err
}
