package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"kondate/handlers/access"
	"kondate/streams"
)

// accessNATSCommand groups what is done to the users of NATS.
type accessNATSCommand struct {
	Add    natsAddCommand    `cmd:"" help:"Make a user, and a file with the seed that the user connects with: once, it is not kept."`
	List   natsListCommand   `cmd:"" help:"Show the users."`
	Remove natsRemoveCommand `cmd:"" help:"Remove a user, and the consumer of a reader."`
	Config natsConfigCommand `cmd:"" help:"Print the accounts of the users for the configuration of a nats-server of your own."`
}

// usersPath is the file that is named, or that the server on the data dir reads, or would read.
func usersPath(s Storage) string {
	if found, err := readConnection(s.DataDir); err == nil && s.NATS.UsersFile == "" && found.NATSUsers != "" {
		return found.NATSUsers
	}
	return natsUsersFile(s.NATS, s.DataDir)
}

type natsAddCommand struct {
	Storage `embed:""`

	Name     string `arg:"" help:"Who it is; A-Z a-z 0-9 _ -."`
	Role     string `required:"" enum:"reader,worker,server,admin" help:"What it may do: reader, worker, server (kondate's own processes) or admin."`
	Tenant   string `help:"Tenant of a reader or a worker; * is all. A worker is for all without it."`
	Stage    string `help:"Stage of a worker."`
	SeedFile string `placeholder:"FILE" help:"Where the seed goes; empty: NAME.nk in the working folder." type:"path"`
	FromNow  bool   `help:"Let a reader begin with the next event; without it, with the oldest one that the log has."`
	JSON     bool   `help:"Print JSON."`
}

// Help is shown below the flags.
func (natsAddCommand) Help() string {
	return "reader reads the events of its tenant, through a consumer of its own that this command makes; worker answers one stage; " +
		"server is for kondate's own processes (nats.credentials), admin for people with the nats command. Give the file of the seed to the user; " +
		"kondate keeps the public key only (docs/access.md).\n\n" +
		"Example: kondate access nats add reporting --role reader --tenant izakaya"
}

// addedUser is the answer in JSON.
type addedUser struct {
	streams.User

	SeedFile string `json:"seed_file"`
	Consumer string `json:"consumer,omitempty"`
}

// Run makes the user.
func (c natsAddCommand) Run(ctx context.Context, env environment) (err error) {
	role, tenant := streams.UserRole(c.Role), c.Tenant
	switch {
	case role == streams.RoleReader && tenant == "":
		return usage(errors.New("a reader reads one tenant: name it with --tenant, or write --tenant '*' for all"))
	case role == streams.RoleWorker && tenant == "":
		tenant = streams.AllTenants
	case c.FromNow && role != streams.RoleReader:
		return usage(errors.New("--from-now is for readers"))
	}
	user, seed, err := streams.NewUser(c.Name, role, tenant, c.Stage, time.Now())
	if err != nil {
		return usage(err)
	}
	path := usersPath(c.Storage)
	if users, err := readNATSUsers(path); err != nil {
		return err
	} else if taken(users, c.Name) {
		return takenError(c.Name, path)
	}
	answer := addedUser{User: user, SeedFile: c.SeedFile}
	if answer.SeedFile == "" {
		answer.SeedFile = c.Name + ".nk"
	}
	if role == streams.RoleReader {
		if err := c.makeConsumer(ctx, env, user); err != nil {
			return err
		}
		answer.Consumer = streams.TeamConsumer(c.Name)
	}
	if err := writeSeed(answer.SeedFile, seed); err != nil {
		return err
	}
	if c.NATS.UsersFile == "" {
		if err := prepareDataDir(c.DataDir); err != nil {
			return err
		}
	}
	err = changeUsers(ctx, path, func(users []streams.User) ([]streams.User, error) {
		if taken(users, c.Name) {
			return nil, takenError(c.Name, path)
		}
		return append(users, user), nil
	})
	if err != nil {
		return errors.Join(err, os.Remove(answer.SeedFile))
	}
	if c.JSON {
		return printJSON(env.stdout, answer)
	}
	fmt.Fprintf(env.stdout, "User %s, role %s, in %s. The seed is in %s, for the user alone.\n", user.Name, user.Role, shortPath(path), shortPath(answer.SeedFile))
	if answer.Consumer != "" {
		fmt.Fprintf(env.stdout, "It reads with the consumer %s of the stream %s.\n", answer.Consumer, streams.EventStream)
	}
	printTakeUp(env.stdout, c.Storage)
	return nil
}

func (c natsAddCommand) makeConsumer(ctx context.Context, env environment, user streams.User) (err error) {
	a, err := openLogBeside(ctx, c.Storage, newLogger(env.stderr, slog.LevelWarn))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop(ctx)) }()
	return streams.EnsureTeam(ctx, a.js, user, c.FromNow)
}

func taken(users []streams.User, name string) bool {
	return slices.ContainsFunc(users, func(u streams.User) bool { return u.Name == name })
}

func takenError(name, path string) error {
	return fmt.Errorf("there is a user %s already in %s: take another name, or remove that one (kondate access nats remove %s)", name, path, name)
}

// writeSeed writes a file for its owner alone, and over none.
func writeSeed(path string, seed []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the caller names the file
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the file %s exists, and may be somebody's seed: move it away, or name another one with --seed-file", path)
	}
	if err != nil {
		return fmt.Errorf("write the seed: %w", err)
	}
	_, err = file.Write(append(seed, '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write the seed: %w", err)
	}
	return nil
}

func changeUsers(ctx context.Context, path string, fn func([]streams.User) ([]streams.User, error)) error {
	return access.ChangeFile(ctx, path, func(raw []byte) ([]byte, error) {
		var users []streams.User
		if raw != nil {
			var err error
			if users, err = streams.ParseUsers(raw); err != nil {
				return nil, fmt.Errorf("the NATS users in %s cannot be used: %w", path, err)
			}
		}
		users, err := fn(users)
		if err != nil {
			return nil, err
		}
		return streams.FormatUsers(users)
	})
}

// printTakeUp says what makes a change count.
func printTakeUp(out io.Writer, s Storage) {
	found, err := readConnection(s.DataDir)
	switch {
	case s.NATS.URL != "" || (err == nil && found.NATSSocket == "" && found.NATSURL != ""):
		fmt.Fprintln(out, "Put the output of kondate access nats config into your nats-server and reload it, twice for a new reader (docs/access.md).")
	case err == nil && found.NATSUsers != "":
		fmt.Fprintln(out, "The kondate serve that runs takes the change by itself, within a few seconds.")
	case err == nil:
		fmt.Fprintln(out, "The kondate serve that runs was started without users: start it anew.")
	}
}

type natsListCommand struct {
	Storage `embed:""`

	JSON bool `help:"Print a line of JSON for each."`
}

// Help is shown below the flags.
func (natsListCommand) Help() string { return "Example: kondate access nats list" }

// Run lists the users.
func (c natsListCommand) Run(env environment) error {
	path := usersPath(c.Storage)
	users, err := readNATSUsers(path)
	if err != nil {
		return err
	}
	if c.JSON {
		for _, u := range users {
			if err := printJSON(env.stdout, u); err != nil {
				return err
			}
		}
		return nil
	}
	if len(users) == 0 {
		fmt.Fprintf(env.stdout, "There are no users of NATS in %s: kondate access nats add makes one.\n", shortPath(path))
		return nil
	}
	now, w := time.Now(), tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tROLE\tTENANT\tSTAGE\tPUBLIC KEY\tCREATED")
	for _, u := range users {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Name, u.Role, u.Tenant, u.Stage, u.PublicKey, humanize.RelTime(u.Created, now, "ago", "from now"))
	}
	return w.Flush()
}

type natsRemoveCommand struct {
	Storage `embed:""`

	Name string `arg:"" help:"User to remove: kondate access nats list shows them."`
}

// Help is shown below the flags.
func (natsRemoveCommand) Help() string { return "Example: kondate access nats remove reporting" }

// errNoUser says that no user has a name.
var errNoUser = errors.New("there is no such user (kondate access nats list shows them)")

// Run removes the user first, for that must not depend on the broker; then the consumer of a reader, also one that an
// earlier removal could not reach.
func (c natsRemoveCommand) Run(ctx context.Context, env environment) (err error) {
	path, reader := usersPath(c.Storage), true
	missing := changeUsers(ctx, path, func(users []streams.User) ([]streams.User, error) {
		i := slices.IndexFunc(users, func(u streams.User) bool { return u.Name == c.Name })
		if i < 0 {
			return nil, fmt.Errorf("user %s in %s: %w", c.Name, path, errNoUser)
		}
		reader = users[i].Role == streams.RoleReader
		return slices.Delete(users, i, i+1), nil
	})
	if missing != nil && !errors.Is(missing, errNoUser) {
		return missing
	}
	if missing == nil {
		fmt.Fprintf(env.stdout, "User %s is removed from %s.\n", c.Name, shortPath(path))
		printTakeUp(env.stdout, c.Storage)
	}
	if !reader {
		return nil
	}
	a, err := openLogBeside(ctx, c.Storage, newLogger(env.stderr, slog.LevelWarn))
	if err == nil {
		defer func() { err = errors.Join(err, a.stop(ctx)) }()
		var gone bool
		if gone, err = streams.RemoveTeam(ctx, a.js, c.Name); gone {
			fmt.Fprintf(env.stdout, "The consumer %s is removed.\n", streams.TeamConsumer(c.Name))
			return nil
		}
	}
	if err != nil {
		err = fmt.Errorf("a consumer %s may still be there, give the same command again when NATS can be reached: %w", streams.TeamConsumer(c.Name), err)
	}
	return errors.Join(missing, err)
}

type natsConfigCommand struct {
	Storage `embed:""`

	Prefix string `name:"sse-channel-prefix" default:"sse" help:"First token of the subjects of live messages."`
}

// Help is shown below the flags.
func (natsConfigCommand) Help() string {
	return "In the configuration of your nats-server: accounts { include ./kondate-accounts.conf }. It holds public keys only.\n\n" +
		"Example: kondate access nats config > kondate-accounts.conf"
}

// Run prints the accounts.
func (c natsConfigCommand) Run(env environment) error {
	path := usersPath(c.Storage)
	users, err := readNATSUsers(path)
	if err != nil {
		return err
	}
	if len(users) == 0 {
		return fmt.Errorf("there are no users of NATS in %s: kondate access nats add makes one", path)
	}
	text, err := streams.UsersConfig(users, c.Prefix)
	if err != nil {
		return err
	}
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = u.Name
	}
	_, err = fmt.Fprintf(env.stdout, "# Accounts of kondate for %s. Made by kondate access nats config; in nats-server.conf: accounts { include FILE }\n%s",
		strings.Join(names, ", "), text)
	return err
}
