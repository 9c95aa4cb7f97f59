package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"kondate/domain/menu"
	"kondate/handlers/access"
)

// keysCommand groups what is done to API keys.
type keysCommand struct {
	Create keysCreateCommand `cmd:"" help:"Make an API key and print it: once, it is not kept."`
	List   keysListCommand   `cmd:"" help:"Show the API keys, without their secrets."`
	Revoke keysRevokeCommand `cmd:"" help:"End an API key, at once and for good."`
}

// keysStore says where the keys are. Running servers notice a change by themselves.
type keysStore struct {
	DataDir      string `default:".kondate" help:"Data dir of the server." type:"path"`
	AuthKeysFile string `help:"File of API keys; empty: keys.json in the data dir." type:"path"`
}

// path is the file that is named, or that the server on the data dir reads, or would read.
func (s keysStore) path() string {
	if found, err := readConnection(s.DataDir); err == nil && s.AuthKeysFile == "" && found.KeysFile != "" {
		return found.KeysFile
	}
	return keysPath(AuthConfig{KeysFile: s.AuthKeysFile}, s.DataDir)
}

type keysCreateCommand struct {
	keysStore `embed:""`

	Name    string        `required:"" help:"What the key is for, for instance the program that gets it."`
	Tenant  string        `default:"public" help:"Tenant whose sessions it opens; A-Z a-z 0-9 _ -. A new name is a new tenant."`
	Role    string        `required:"" help:"What it may do: read, submit or admin (kondate access explains them)."`
	Expires time.Duration `help:"How long it is valid, for instance 720h; without it, until it is revoked."`
	JSON    bool          `help:"Print JSON; the key is in the field key."`
}

// Help is shown below the flags.
func (keysCreateCommand) Help() string {
	return "The key goes to standard output and nowhere else: keep it, it cannot be shown again.\n\n" +
		"Example: kondate keys create --name till-3 --tenant izakaya --role submit --expires 720h"
}

// createdKey is the answer in JSON.
type createdKey struct {
	shownKey

	Key string `json:"key"`
}

// Run makes the key.
func (c keysCreateCommand) Run(ctx context.Context, env environment) error {
	tenant, err := menu.ParseTenant(c.Tenant)
	if err != nil {
		return usage(fmt.Errorf("--tenant: %w", err))
	}
	role, err := access.ParseRole(c.Role)
	if err != nil {
		return usage(fmt.Errorf("--role: %w", err))
	}
	now, expires := time.Now(), time.Time{}
	switch {
	case c.Expires < 0:
		return usage(fmt.Errorf("--expires %s lies in the past", c.Expires))
	case c.Expires > 0:
		expires = now.Add(c.Expires)
	}
	key, secret, err := access.NewKey(c.Name, tenant, role, now, expires)
	if err != nil {
		return usage(err)
	}
	if c.AuthKeysFile == "" {
		if err := prepareDataDir(c.DataDir); err != nil {
			return err
		}
	}
	if err := access.AddKey(ctx, c.path(), key); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(env.stdout, createdKey{shown(key, now), secret})
	}
	// The key alone goes to standard output, so that $(kondate keys create …) is the key.
	fmt.Fprintf(env.stderr, "Key %s for the tenant %s, role %s, in %s. It is shown this once:\n", key.ID, key.Tenant, key.Role, c.path())
	_, err = fmt.Fprintln(env.stdout, secret)
	return err
}

type keysListCommand struct {
	keysStore `embed:""`

	JSON bool `help:"Print a line of JSON for each."`
}

// Help is shown below the flags.
func (keysListCommand) Help() string {
	return "LAST are the last four characters of a key, by which its holder can tell which one it is.\n\nExample: kondate keys list"
}

// shownKey is a key as people and programs see it.
type shownKey struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	Tenant  menu.Tenant `json:"tenant"`
	Role    access.Role `json:"role"`
	Last4   string      `json:"last4"`
	State   string      `json:"state"` // valid, expired or revoked
	Created time.Time   `json:"created_at"`
	Expires time.Time   `json:"expires_at,omitzero"`
	Revoked time.Time   `json:"revoked_at,omitzero"`
}

func shown(k access.Key, now time.Time) shownKey {
	return shownKey{k.ID, k.Name, k.Tenant, k.Role, k.Last4, k.State(now), k.Created, k.Expires, k.Revoked}
}

// Run lists the keys.
func (c keysListCommand) Run(env environment) error {
	keys, err := access.ReadKeys(c.path())
	if err != nil {
		return err
	}
	now := time.Now()
	if c.JSON {
		for _, k := range keys {
			if err := printJSON(env.stdout, shown(k, now)); err != nil {
				return err
			}
		}
		return nil
	}
	return printKeys(env.stdout, c.path(), keys, now)
}

func printKeys(out io.Writer, path string, keys []access.Key, now time.Time) error {
	if len(keys) == 0 {
		_, err := fmt.Fprintf(out, "There are no API keys in %s: kondate keys create makes one.\n", shortPath(path))
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tTENANT\tROLE\tLAST\tSTATE\tCREATED\tEXPIRES")
	for _, k := range keys {
		expires := "never"
		if !k.Expires.IsZero() {
			expires = humanize.RelTime(k.Expires, now, "ago", "from now")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t…%s\t%s\t%s\t%s\n", k.ID, printable(k.Name), k.Tenant, k.Role, printable(k.Last4), k.State(now),
			humanize.RelTime(k.Created, now, "ago", "from now"), expires)
	}
	return w.Flush()
}

// shortPath names a file below the working folder as the caller would.
func shortPath(path string) string {
	here, err := filepath.Abs(".")
	if err != nil {
		return path
	}
	if short, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(short) {
		return short
	}
	return path
}

type keysRevokeCommand struct {
	keysStore `embed:""`

	ID   string `arg:"" help:"Key to end, by its id: kondate keys list shows them."`
	JSON bool   `help:"Print JSON."`
}

// Help is shown below the flags.
func (keysRevokeCommand) Help() string {
	return "Servers that read the file refuse the key from the next request on. Streams that are open, and tokens that were given out, end by themselves.\n\n" +
		"Example: kondate keys revoke 3f9a1c02"
}

// Run revokes the key.
func (c keysRevokeCommand) Run(ctx context.Context, env environment) error {
	now := time.Now()
	key, err := access.RevokeKey(ctx, c.path(), c.ID, now)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(env.stdout, shown(key, now))
	}
	_, err = fmt.Fprintf(env.stdout, "Key %s (%s, tenant %s) is revoked.\n", key.ID, printable(key.Name), key.Tenant)
	return err
}
