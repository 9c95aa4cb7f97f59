package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// parseConfig resolves the settings of serve as the program does.
func parseConfig(env map[string]string, args ...string) (Config, error) {
	var cli commandLine
	getenv := func(name string) string { return env[name] }
	resolver, err := loadSettings(getenv, configFile(environment{args: args, getenv: getenv}))
	if err != nil {
		return Config{}, err
	}
	parser, err := kong.New(&cli, kong.Resolvers(resolver), kong.Exit(func(int) {}))
	if err != nil {
		return Config{}, err
	}
	_, err = parser.Parse(append([]string{"serve"}, args...))
	return cli.Serve.Config, err
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := parseConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.DataDir = filepath.Base(c.DataDir)
	limits := LimitsConfig{FailuresToOpen: 10, Cooldown: 30 * time.Second}
	want := Config{
		Storage: Storage{
			DataDir:  ".kondate",
			NATS:     NATSConfig{Sync: "always", Replicas: 1},
			Database: DatabaseConfig{PoolSize: 20, MaxOverflow: 30, PoolTimeout: 30 * time.Second, PoolRecycle: time.Hour},
		},
		HTTP: HTTPConfig{Addr: "127.0.0.1:8080", RateBurst: 100},
		SSE: SSEConfig{
			MaxConnections: 1000, KeepaliveInterval: 30 * time.Second, EventHistoryTTL: time.Hour, MaxEventSize: 1 << 20, ChannelPrefix: "sse",
			Reconnect: ReconnectConfig{ReconnectInterval: 5 * time.Second, MaxReconnectAttempts: 3},
		},
		Processing: ProcessingConfig{
			MaxParallelTasks: 8, TaskTimeout: 300 * time.Second, RetryAttempts: 3, RetryDelay: 60 * time.Second, SessionTTL: time.Hour,
			BatchSize: 100, ProgressUpdateInterval: 10 * time.Second,
		},
		Stages: StagesConfig{
			AckWait:     30 * time.Second,
			Translation: StageConfig{"local"}, Description: StageConfig{"local"}, Allergen: StageConfig{"local"}, Ingredient: StageConfig{"local"},
			SearchEngine: StageConfig{"local"}, Task6: StageConfig{"local"}, Task7: StageConfig{"local"}, Task8: StageConfig{"local"},
		},
		External: ExternalConfig{Limits: limits, Version: "1"},
		OpenAI:   OpenAIConfig{Limits: limits, BaseURL: "https://api.openai.com/v1", BatchSize: 8},
		Commons:  CommonsConfig{Limits: limits},
		Cache:    CacheConfig{MaxBytes: 256 << 20},
		Auth:     AuthConfig{Mode: "none", TokenTTL: 2 * time.Hour},
		Tracing:  TracingConfig{SampleRatio: 1},
	}
	if got, want := describe(c), describe(want); got != want {
		t.Fatalf("defaults are\n%s\nwant\n%s", got, want)
	}
}

func describe(c Config) string { return fmt.Sprintf("%+v", c) }

func TestPrecedence(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "kondate.yaml")
	if err := os.WriteFile(file, []byte("sse:\n  max_connections: 1\n  keepalive_interval: 11s\nstages:\n  search_engine: {provider: local}\nnats: {max_bytes: 20GB}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"KONDATE_CONFIG": file}
	read := func(args ...string) Config {
		c, err := parseConfig(env, args...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := read(); c.SSE.MaxConnections != 1 || c.SSE.KeepaliveInterval != 11*time.Second || c.NATS.MaxBytes != 20_000_000_000 {
		t.Fatalf("the file gives %+v", c)
	}
	env["KONDATE_SSE_MAX_CONNECTIONS"] = "2"
	if c := read(); c.SSE.MaxConnections != 2 {
		t.Fatalf("the variable gives %d", c.SSE.MaxConnections)
	}
	if c := read("--sse-max-connections", "3"); c.SSE.MaxConnections != 3 {
		t.Fatalf("the flag gives %d", c.SSE.MaxConnections)
	}
}

func TestRefusedSettings(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "kondate.yaml")
	if err := os.WriteFile(file, []byte("sse: {max_conections: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args []string
		want string // part of the message
	}{
		"ReachableWithoutAuth": {[]string{"--http-addr", "0.0.0.0:8080"}, "bind to 127.0.0.1"},
		"NoSuchAuth":           {[]string{"--auth-mode", "password"}, "use none or keys"},
		"ShortTokenSecret":     {[]string{"--auth-mode", "keys", "--auth-token-secret", "hunter2"}, "auth.token_secret has 7 bytes"},
		"NoTokenTime":          {[]string{"--auth-token-ttl", "0s"}, "auth.token_ttl is 0s"},
		"KeysWithoutMode":      {[]string{"--auth-keys-file", file}, "set auth.mode to keys"},
		"NoProxy":              {[]string{"--auth-trusted-proxies", "balancer"}, "10.0.0.0/8"},
		"NoRate":               {[]string{"--http-rate-limit=-1"}, "http.rate_limit"},
		"NoBurst":              {[]string{"--http-rate-burst", "0"}, "http.rate_burst"},
		"NoOrigin":             {[]string{"--http-cors-origins", "example.org"}, "http.cors_origins"},
		"UnknownProvider":      {[]string{"--stages-allergen-provider", "oracle"}, "use local, openai, external, or commons"},
		"NoModel":              {[]string{"--stages-allergen-provider", "openai"}, "openai.model is empty"},
		"NoSuchURL":            {[]string{"--openai-base-url", "ftp://models"}, "must begin with http:// or https://"},
		"NoBatch":              {[]string{"--openai-batch-size", "0"}, "openai.batch_size"},
		"PicturesOnly":         {[]string{"--stages-allergen-provider", "commons"}, "it answers search_engine"},
		"NoContact":            {[]string{"--stages-search-engine-provider", "commons"}, "commons.contact is empty"},
		"NoCooldown":           {[]string{"--commons-cooldown", "0s"}, "commons.cooldown is 0"},
		"WorkerCannotConnect":  {[]string{"--stages-allergen-provider", "external"}, "set nats.listen (for instance 127.0.0.1:4222), or nats.url"},
		"ZeroTasks":            {[]string{"--processing-max-parallel-tasks", "0"}, "processing.max_parallel_tasks"},
		"NoSize":               {[]string{"--sse-max-event-size", "big"}, "1MiB"},
		"MistypedKey":          {[]string{"--config", file}, "--sse-max-conections"},
		"MissingFile":          {[]string{"--config", file + ".gone"}, "does not exist"},
		"UnknownFlag":          {[]string{"--no-such-flag"}, "unknown flag"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseConfig(nil, test.args...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("err = %v, want one that says %q", err, test.want)
			}
		})
	}
}

// With keys the server may be reached from other machines; the file's lists and secrets arrive.
func TestAuthSettings(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "kondate.yaml")
	if err := os.WriteFile(file, []byte("http: {addr: '0.0.0.0:8080'}\nauth:\n  mode: keys\n  token_ttl: 30m\n  trusted_proxies: [10.0.0.0/8, '2001:db8::1']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parseConfig(map[string]string{"KONDATE_AUTH_TOKEN_SECRET": tokenSecret, "KONDATE_CONFIG": file})
	if err != nil {
		t.Fatal(err)
	}
	want := AuthConfig{Mode: "keys", TokenSecret: tokenSecret, TokenTTL: 30 * time.Minute, TrustedProxies: []string{"10.0.0.0/8", "2001:db8::1"}}
	if got := fmt.Sprintf("%+v", c.Auth); got != fmt.Sprintf("%+v", want) {
		t.Errorf("got %s", got)
	}
	if _, err := parseConfig(map[string]string{"KONDATE_AUTH_TOKEN_SECRET": "hunter2hunter2", "KONDATE_CONFIG": file}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a short secret: %v", err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		code int
		want string
	}{
		"Help":        {[]string{"--help"}, exitOK, "kondate demo"},
		"ServeHelp":   {[]string{"serve", "--help"}, exitOK, "--processing-retry-delay"},
		"SubmitHelp":  {[]string{"submit", "--help"}, exitOK, "Example:"},
		"NoCommand":   {nil, exitUsage, "kondate --help"},
		"BadFlag":     {[]string{"serve", "--nope"}, exitUsage, "--nope"},
		"NoServer":    {[]string{"watch", "s1", "--data-dir", t.TempDir()}, exitFailed, "no kondate serve runs"},
		"BadSession":  {[]string{"watch", "a.b", "--url", "http://127.0.0.1:1"}, exitFailed, "session id"},
		"NobodyThere": {[]string{"submit", "samples/izakaya.json", "--url", "http://127.0.0.1:1"}, exitFailed, "is kondate serve running"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			code := run(context.Background(), environment{
				args: test.args, getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: &out, stderr: &out,
			})
			if code != test.code || !strings.Contains(out.String(), test.want) {
				t.Fatalf("exit %d with\n%s\nwant %d and %q", code, out.String(), test.code, test.want)
			}
		})
	}
}
