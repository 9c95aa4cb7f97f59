package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"kondate/streams"
)

// NATSAccess is the part of the group nats that says who we are to a NATS, and by what we know it.
type NATSAccess struct {
	Credentials string `placeholder:"FILE" json:"nats_credentials,omitempty" help:"Who we are to the NATS of nats.url: a file with the seed of a user (.nk), or a .creds file." type:"path"`
	TLSCA       string `name:"tls-ca" placeholder:"FILE" json:"nats_tls_ca,omitempty" help:"CA that signed the certificate of the NATS of nats.url; with the embedded NATS: the CA whose certificates its clients must have." type:"path"`
	TLSCert     string `name:"tls-cert" placeholder:"FILE" json:"nats_tls_cert,omitempty" help:"Our certificate for the NATS of nats.url; with the embedded NATS: that of nats.listen." type:"path"`
	TLSKey      string `name:"tls-key" placeholder:"FILE" json:"nats_tls_key,omitempty" help:"Key of nats.tls_cert." type:"path"`
}

func (c NATSAccess) tls() tlsFiles {
	return tlsFiles{group: "nats.tls", ca: c.TLSCA, cert: c.TLSCert, key: c.TLSKey}
}

// A broker that does not answer is left for another one after three seconds. The client's own four minutes are meant for
// the Internet; a machine that was cut off would hold on to its dead connection for as long.
const (
	natsPing     = time.Second
	natsPingsOut = 2
)

// dial connects to a NATS of the user's at one of several URLs with commas between them.
func (c NATSAccess) dial(urls string, log *slog.Logger, more ...nats.Option) (*nats.Conn, error) {
	for i, one := range strings.Split(urls, ",") {
		if one = strings.TrimSpace(one); !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		if u, err := url.Parse(one); err != nil || u.Host == "" { // the error would repeat a password
			return nil, fmt.Errorf("address %d of nats.url is no URL such as nats://host:4222", i+1)
		}
	}
	opts := append([]nats.Option{nats.MaxReconnects(-1), nats.PingInterval(natsPing), nats.MaxPingsOutstanding(natsPingsOut)}, more...)
	user, err := c.user()
	if err != nil {
		return nil, err
	}
	files := c.tls()
	if err := files.validate(); err != nil {
		return nil, err
	}
	cfg, err := files.client(log)
	if err != nil {
		return nil, err
	}
	if cfg != nil {
		opts = append(opts, nats.Secure(cfg))
	}
	nc, err := nats.Connect(urls, append(opts, user)...)
	switch {
	case err == nil:
		return nc, nil
	case errors.Is(err, nats.ErrAuthorization):
		return nil, fmt.Errorf("connect to NATS: %w: the server does not know this user, see nats.credentials", err)
	case errors.Is(err, nats.ErrSecureConnRequired):
		return nil, fmt.Errorf("connect to NATS: %w: the server takes TLS only, set nats.tls_ca to the CA of its certificate or write tls:// in nats.url", err)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return nil, fmt.Errorf("connect to NATS: %w: the server has no TLS, leave nats.tls_ca and nats.tls_cert empty", err)
	}
	return nil, fmt.Errorf("connect to NATS: %w", explainTLS(err, "nats.tls_ca", "nats.tls_cert"))
}

// redactedURLs leaves passwords out.
func redactedURLs(urls string) string {
	all := strings.Split(urls, ",")
	for i, one := range all {
		if u, err := url.Parse(strings.TrimSpace(one)); err == nil {
			all[i] = u.Redacted()
		}
	}
	return strings.Join(all, ",")
}

// user reads the file of credentials.
func (c NATSAccess) user() (nats.Option, error) {
	if c.Credentials == "" {
		return streams.SeedOption("")
	}
	raw, err := os.ReadFile(c.Credentials)
	if err != nil {
		return nil, fmt.Errorf("nats.credentials: %w", err)
	}
	if strings.Contains(string(raw), "-----BEGIN NATS USER JWT-----") {
		return nats.UserCredentials(c.Credentials), nil
	}
	seed, err := nats.NkeyOptionFromSeed(c.Credentials) // read again at every connection
	if err != nil {
		return nil, fmt.Errorf("nats.credentials %s holds neither the seed of a user (SU…) nor a .creds file: %w", c.Credentials, err)
	}
	return seed, nil
}

// refusals has what the broker refuses of a connection told in the log: the one who asked only runs out of time.
func refusals(log *slog.Logger) nats.Option {
	return nats.ErrorHandler(func(nc *nats.Conn, _ *nats.Subscription, err error) {
		log.Error("NATS says", slog.String("connection", nc.Opts.Name), slog.Any("error", err))
	})
}

// natsUsersFile is the file of the users of the embedded NATS.
func natsUsersFile(cfg NATSConfig, dataDir string) string {
	if cfg.UsersFile != "" {
		return cfg.UsersFile
	}
	return filepath.Join(dataDir, "nats_users.json")
}

// readNATSUsers reads a file of users; nil if there is none.
func readNATSUsers(path string) ([]streams.User, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the NATS users: %w", err)
	}
	const writableByOthers = 0o022
	if info.Mode().Perm()&writableByOthers != 0 {
		return nil, fmt.Errorf("others than its owner may write into %s, and so let themselves in: chmod 600 %s", path, path)
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read the NATS users: %w", err)
	}
	users, err := streams.ParseUsers(raw)
	if err != nil {
		return nil, fmt.Errorf("the NATS users in %s cannot be used: %w", path, err)
	}
	if users == nil {
		users = []streams.User{} // a file without users lets nobody in; no file, everybody on this machine
	}
	return users, nil
}

// admitOthers has the embedded broker of serve take connections at nats.listen, of the users in their file if there is one.
func (a *app) admitOthers(cfg *streams.ServerConfig) error {
	path := natsUsersFile(a.cfg.NATS, a.cfg.DataDir)
	a.users = watched{paths: []string{path}}
	a.users.changed() // before the reading: what changes meanwhile is read again
	users, err := readNATSUsers(path)
	if err == nil && users == nil && a.cfg.NATS.UsersFile != "" {
		err = fmt.Errorf("nats.users_file %s does not exist: kondate access nats add makes it", path)
	}
	if err != nil {
		return err
	}
	a.users.take()
	cfg.Listen, cfg.Users, cfg.ChannelPrefix = a.cfg.NATS.Listen, users, a.cfg.SSE.ChannelPrefix
	files := a.cfg.NATS.Access.tls()
	if cfg.TLS, err = files.server(a.log); err == nil && files.ca != "" && files.cert == "" {
		err = errors.New("nats.tls_ca is set and nats.tls_cert is not: with it, the embedded NATS wants certificates of its clients, which takes one of its own")
	}
	return err
}

// usersInterval is how often the file of NATS users is looked at.
const usersInterval = time.Second

// followUsers is the part that hands changes of the file of users to the embedded broker.
func (a *app) followUsers() part {
	return part{"nats users", func(ctx context.Context) error {
		tick := time.NewTicker(usersInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				a.updateUsers(ctx)
			case <-ctx.Done():
				return nil
			}
		}
	}}
}

// updateUsers hands the file of users to the embedded broker if it has changed. One that cannot be used is told about, and
// tried again until it can: a user who was removed may be in it no more.
func (a *app) updateUsers(ctx context.Context) {
	if !a.users.changed() {
		return
	}
	path := natsUsersFile(a.cfg.NATS, a.cfg.DataDir)
	users, err := readNATSUsers(path)
	if err == nil && users == nil {
		err = fmt.Errorf("the file %s is gone: put it back", path)
	}
	if err == nil {
		err = a.broker.SetUsers(users)
	}
	if err != nil {
		if a.users.news(err) {
			a.log.ErrorContext(ctx, "the NATS users stay as they were", slog.Any("error", err))
		}
		return
	}
	a.users.take()
	a.log.InfoContext(ctx, "NATS users read", slog.String("file", path), slog.Int("users", len(users)))
}

// describeNATS tells the commands beside this process how to reach its NATS.
func (a *app) describeNATS(c *connection) {
	c.NATSURL = a.natsURL
	if a.broker == nil {
		c.NATSURL, c.NATSAccess = a.cfg.NATS.URL, a.cfg.NATS.Access
		return
	}
	c.NATSSocket, c.NATSSeed, c.NATSSync = string(a.socket), a.broker.Seed(), a.broker.Sync().String()
	if c.NATSSeed != "" {
		c.NATSUsers = natsUsersFile(a.cfg.NATS, a.cfg.DataDir)
	}
}

// dial connects to the broker of a running serve.
func (c connection) dial(o ...nats.Option) (*nats.Conn, error) {
	if c.NATSSocket == "" {
		return c.NATSAccess.dial(c.NATSURL, slog.New(slog.DiscardHandler), o...)
	}
	user, err := streams.SeedOption(c.NATSSeed)
	if err != nil {
		return nil, err
	}
	return streams.Socket(c.NATSSocket).Connect(append(o, user, nats.MaxReconnects(-1))...)
}
