package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"kondate/domain/menu"
	"kondate/handlers/httpapi"
)

// Config holds every setting. A key a.b_c is the flag --a-b-c, the variable KONDATE_A_B_C and the YAML entry a: {b_c: …};
// flags win over the environment, the environment over the file.
type Config struct {
	Storage    `embed:""`
	HTTP       HTTPConfig       `embed:"" prefix:"http-"`
	SSE        SSEConfig        `embed:"" prefix:"sse-"`
	Processing ProcessingConfig `embed:"" prefix:"processing-"`
	Stages     StagesConfig     `embed:"" prefix:"stages-"`
	External   ExternalConfig   `embed:"" prefix:"external-"`
	Cache      CacheConfig      `embed:"" prefix:"cache-"`
	OpenAI     OpenAIConfig     `embed:"" prefix:"openai-"`
	Commons    CommonsConfig    `embed:"" prefix:"commons-"`
	Auth       AuthConfig       `embed:"" prefix:"auth-"`
	Tracing    TracingConfig    `embed:"" prefix:"tracing-"`
}

// Storage says where the log and the rows are. Every command that works on them has it.
type Storage struct {
	DataDir  string         `default:".kondate" help:"Folder of the embedded NATS and Postgres, and of the connection file." type:"path"`
	NATS     NATSConfig     `embed:"" prefix:"nats-"`
	Database DatabaseConfig `embed:"" prefix:"database-"`
}

// HTTPConfig is the group http.
type HTTPConfig struct {
	Addr        string   `default:"127.0.0.1:8080" help:"Address of the HTTP server; port 0 takes a free one."`
	RateLimit   *float64 `help:"Requests per second of one client, by credential or else by address; 0: no limit. Left out, it is 50, and 0 where only this machine reaches http.addr."`
	RateBurst   int      `default:"100" help:"Requests that one client may send at once, where there is a limit."`
	TLSCert     string   `name:"tls-cert" placeholder:"FILE" help:"Certificate of the HTTP server, in PEM; with it the server speaks HTTPS. A renewed file is taken without a restart." type:"path"`
	TLSKey      string   `name:"tls-key" placeholder:"FILE" help:"Key of http.tls_cert." type:"path"`
	CORSOrigins []string `name:"cors-origins" help:"Other origins whose pages may use the API, such as https://example.org; * is any."`
}

// defaultRateLimit is http.rate_limit where other machines reach the server. On loopback all clients have one address: a
// proxy's, or the owner's of the machine.
const defaultRateLimit = 50

// rateLimit returns the limit in force.
func (c HTTPConfig) rateLimit() float64 {
	switch {
	case c.RateLimit != nil:
		return *c.RateLimit
	case loopback(c.Addr):
		return 0
	}
	return defaultRateLimit
}

func (c HTTPConfig) validate() error {
	var errs []error
	if limit := c.rateLimit(); limit < 0 || math.IsNaN(limit) || math.IsInf(limit, 0) {
		errs = append(errs, fmt.Errorf("http.rate_limit is %v, it must be a number of requests per second, or 0 for no limit", limit))
	}
	for _, origin := range c.CORSOrigins {
		if err := httpapi.CheckOrigin(origin); err != nil {
			errs = append(errs, fmt.Errorf("http.cors_origins: %w", err))
		}
	}
	return errors.Join(append(errs, positive("http.rate_burst", c.RateBurst), c.tls().validate())...)
}

// NATSConfig is the group nats.
type NATSConfig struct {
	URL       string     `help:"URLs of an existing NATS, with commas between them; empty: embedded."`
	Access    NATSAccess `embed:""`
	Listen    string     `help:"Address on which the embedded NATS takes connections; empty: none. Without users it must be a loopback address."`
	UsersFile string     `placeholder:"FILE" help:"File of the users of the embedded NATS (kondate access nats); empty: nats_users.json in the data dir, if there is one." type:"path"`
	Sync      string     `default:"always" help:"When the embedded NATS calls an event stored: always (fsynced before it is acknowledged), an interval such as 100ms, or default (the broker's own)."`
	Replicas  int        `default:"1" help:"Copies of the log: 1 embedded, 3 in production."`
	MaxBytes  ByteSize   `default:"0" help:"Size of the log in bytes at most; 0: 80 % of the free disk when it is made."`
}

// DatabaseConfig is the group database.
type DatabaseConfig struct {
	URL         string        `help:"URL of an existing Postgres; empty: a private one from the installed binaries."`
	PoolSize    int           `default:"20" help:"Connections that are kept open."`
	MaxOverflow int           `default:"30" help:"Connections above that, under load."`
	PoolTimeout time.Duration `default:"30s" help:"How long a request waits for the database at most."`
	PoolRecycle time.Duration `default:"1h" help:"Age at which a connection is replaced."`
	EchoSQL     bool          `name:"echo-sql" default:"false" help:"Log every statement."`
}

// SSEConfig is the group sse.
type SSEConfig struct {
	MaxConnections           int             `default:"1000" help:"Streams at once."`
	KeepaliveInterval        time.Duration   `default:"30s" help:"Silence after which a stream carries a comment."`
	EventHistoryTTL          time.Duration   `name:"event-history-ttl" default:"1h" help:"How long the stream of a closed session can be read; 0: for ever."`
	MaxEventSize             ByteSize        `default:"1MiB" help:"Bytes of an event at most; a larger one is refused when it is appended."`
	MaxConnectionsPerSession int             `default:"0" help:"Streams of one session at once; 0: no limit."`
	MaxConnectionsPerAddress int             `default:"0" help:"Streams of one address at once; 0: no limit."`
	ChannelPrefix            string          `default:"sse" help:"First token of the subjects of live messages."`
	Reconnect                ReconnectConfig `embed:""`
}

// ReconnectConfig is the part of the group sse that says how clients come back; watch has it too.
type ReconnectConfig struct {
	ReconnectInterval    time.Duration `default:"5s" help:"Pause of a client before it connects again."`
	MaxReconnectAttempts int           `default:"3" help:"Attempts of our own clients to connect again before they give up."`
}

// ProcessingConfig is the group processing.
type ProcessingConfig struct {
	MaxParallelTasks       int           `default:"8" help:"Dishes at work at once, per stage and process."`
	TaskTimeout            time.Duration `default:"300s" help:"Time for one dish in one stage."`
	RetryAttempts          int           `default:"3" help:"Attempts before a stage is parked for a dish."`
	RetryDelay             time.Duration `default:"60s" help:"Wait before the second attempt; later ones wait longer."`
	SessionTTL             time.Duration `name:"session-ttl" default:"1h" help:"Age at which an unfinished session expires."`
	BatchSize              int           `default:"100" help:"Dishes in one event of a submission."`
	ProgressUpdateInterval time.Duration `default:"10s" help:"Pause between progress messages of a running session."`
}

// StagesConfig is the group stages.
type StagesConfig struct {
	AckWait      time.Duration `default:"30s" help:"Silence of a stage after which its work is given to another process."`
	Translation  StageConfig   `embed:"" prefix:"translation-"`
	Description  StageConfig   `embed:"" prefix:"description-"`
	Allergen     StageConfig   `embed:"" prefix:"allergen-"`
	Ingredient   StageConfig   `embed:"" prefix:"ingredient-"`
	SearchEngine StageConfig   `embed:"" prefix:"search-engine-"`
	Task6        StageConfig   `embed:"" prefix:"task6-"`
	Task7        StageConfig   `embed:"" prefix:"task7-"`
	Task8        StageConfig   `embed:"" prefix:"task8-"`
}

// StageConfig is the group of one stage.
type StageConfig struct {
	Provider string `default:"local" help:"Who answers: local (offline), openai, external (another team's worker), or commons (search_engine only)."`
}

// Of returns the settings of one stage.
func (c StagesConfig) Of(stage menu.Stage) StageConfig {
	switch stage {
	case menu.Translation:
		return c.Translation
	case menu.Description:
		return c.Description
	case menu.Allergen:
		return c.Allergen
	case menu.Ingredient:
		return c.Ingredient
	case menu.SearchEngine:
		return c.SearchEngine
	case menu.Task6:
		return c.Task6
	case menu.Task7:
		return c.Task7
	case menu.Task8:
		return c.Task8
	}
	return StageConfig{}
}

// CacheConfig is the group cache.
type CacheConfig struct {
	MaxBytes ByteSize `default:"256MiB" help:"About how much the results take that are kept; those that were not used for the longest time go."`
}

// AuthConfig is the group auth.
type AuthConfig struct {
	Mode           string        `default:"none" help:"Who may use the HTTP server: none (anybody who reaches it; loopback only) or keys (whoever has an API key)."`
	KeysFile       string        `help:"File of API keys; empty: keys.json in the data dir." type:"path"`
	TokenSecret    string        `help:"Secret of the tokens in stream_url, 32 characters at least, the same for all processes; empty: one that is made once and kept in the data dir."`
	TokenTTL       time.Duration `name:"token-ttl" default:"2h" help:"How long the token in a stream_url opens the stream."`
	TrustedProxies []string      `placeholder:"ADDRESS" help:"Addresses or networks of proxies whose X-Forwarded-For counts."`
}

// Validate refuses values that would do something else than they say. kong calls it for every command with a Config.
func (c Config) Validate() error {
	return errors.Join(
		c.Auth.validate(c.HTTP.Addr), c.HTTP.validate(), c.NATS.Access.tls().validate(), c.validateProviders(), c.Tracing.validate(),
		positive("processing.max_parallel_tasks", c.Processing.MaxParallelTasks),
		positive("processing.retry_attempts", c.Processing.RetryAttempts),
		positive("processing.batch_size", c.Processing.BatchSize),
		positive("processing.task_timeout", c.Processing.TaskTimeout),
		positive("processing.session_ttl", c.Processing.SessionTTL),
		positive("processing.progress_update_interval", c.Processing.ProgressUpdateInterval),
		positive("sse.max_connections", c.SSE.MaxConnections),
		positive("sse.max_event_size", c.SSE.MaxEventSize),
		positive("sse.keepalive_interval", c.SSE.KeepaliveInterval),
		positive("sse.reconnect_interval", c.SSE.Reconnect.ReconnectInterval),
		positive("stages.ack_wait", c.Stages.AckWait),
		positive("cache.max_bytes", c.Cache.MaxBytes),
		positive("database.pool_size", c.Database.PoolSize),
		positive("database.pool_timeout", c.Database.PoolTimeout),
	)
}

func positive[N int | ByteSize | time.Duration](key string, n N) error {
	if n <= 0 {
		return fmt.Errorf("%s is %v, it must be above 0", key, n)
	}
	return nil
}
