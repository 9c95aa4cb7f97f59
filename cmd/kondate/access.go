package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"kondate/handlers/access"
)

// accessCommand groups what says who may come in.
type accessCommand struct {
	Show accessShowCommand `cmd:"" default:"withargs" help:"Show who may use the HTTP server."`
	NATS accessNATSCommand `cmd:"" name:"nats" help:"Make, list and remove users of NATS: teams that read events, workers, kondate itself."`
}

type accessShowCommand struct {
	DataDir string     `default:".kondate" help:"Data dir of the server." type:"path"`
	Auth    AuthConfig `embed:"" prefix:"auth-"`
	JSON    bool       `help:"Print JSON."`
}

// Help is shown below the flags.
func (accessShowCommand) Help() string { return "Example: kondate access" }

// accessReport is what is in force.
type accessReport struct {
	Mode   string            `json:"mode"`
	Server string            `json:"server,omitempty"` // that runs on the data dir; empty: none does, and the mode is that of the settings
	Keys   []shownKey        `json:"keys"`
	Roles  map[string]string `json:"roles"`
}

func mayDo(role access.Role) string {
	switch role {
	case access.Read:
		return "read sessions, rows, streams, history, pictures and parked stages of its tenant"
	case access.Submit:
		return "also submit menus, ask for pictures, retry a parked stage of a dish"
	case access.Admin:
		return "also erase sessions, retry many parked stages at once, read /metrics of the whole server"
	}
	return ""
}

// Run prints which mode is in force, the keys, and what each role may do.
func (c accessShowCommand) Run(env environment) error {
	report := accessReport{Mode: c.Auth.Mode, Keys: []shownKey{}, Roles: map[string]string{}}
	found, err := findServe(c.DataDir)
	if err != nil {
		return err
	}
	if found.AuthMode != "" {
		report.Mode, report.Server = found.AuthMode, found.HTTPURL
	}
	path, now := keysStore{c.DataDir, c.Auth.KeysFile}.path(), time.Now()
	keys, err := access.ReadKeys(path)
	if err != nil {
		return err
	}
	for _, k := range keys {
		report.Keys = append(report.Keys, shown(k, now))
	}
	for _, role := range access.Roles() {
		report.Roles[string(role)] = mayDo(role)
	}
	if c.JSON {
		return printJSON(env.stdout, report)
	}
	where := "of the settings; no server runs on this data dir"
	if report.Server != "" {
		where = "of the server at " + report.Server
	}
	fmt.Fprintf(env.stdout, "Mode %s (%s): ", report.Mode, where)
	if report.Mode == authNone {
		fmt.Fprintln(env.stdout, "whoever reaches the server from this machine may do everything, as the tenant public.")
	} else {
		fmt.Fprintln(env.stdout, "every request needs an API key, or the token of its session.")
	}
	fmt.Fprintln(env.stdout)
	if err := printKeys(env.stdout, path, keys, now); err != nil {
		return err
	}
	fmt.Fprintln(env.stdout)
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, role := range access.Roles() {
		fmt.Fprintf(w, "%s\t%s\n", role, mayDo(role))
	}
	fmt.Fprintln(w, "token\tin stream_url: read one session, for auth.token_ttl")
	return w.Flush()
}
