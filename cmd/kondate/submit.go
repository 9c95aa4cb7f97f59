package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// remote finds the server that a command talks to.
type remote struct {
	URL     string `placeholder:"URL" help:"Server to talk to; empty: the one that runs on the data dir."`
	Key     string `placeholder:"KEY" help:"API key for the server, better given as KONDATE_KEY: other users of the machine see flags. Empty: that of the commands beside the server on the data dir, if it has one."`
	TLSCA   string `name:"http-tls-ca" placeholder:"FILE" help:"CA that signed the certificate of the server of --url; empty: those that the system knows." type:"path"`
	DataDir string `default:".kondate" help:"Data dir of the server." type:"path"`
}

func (r remote) client() (*client, error) {
	if r.URL != "" { // the key of the data dir is not for a server that somebody names
		secured, err := tlsFiles{group: "http.tls", ca: r.TLSCA}.client(nil)
		if err != nil {
			return nil, err
		}
		return &client{base: r.URL, key: r.Key, http: httpClient(secured)}, nil
	}
	c, err := readConnection(r.DataDir)
	if err != nil {
		return nil, err
	}
	c.Key = cmp.Or(r.Key, c.Key)
	return c.client()
}

type submitCommand struct {
	remote `embed:""`

	File   string          `arg:"" help:"Menu: the JSON of POST /v1/sessions, or text with one dish a line and an optional price; - reads standard input."`
	Follow bool            `help:"Watch the session until it ends."`
	JSON   bool            `help:"Print the server's answer as JSON, and events as JSON lines."`
	Retry  ReconnectConfig `embed:"" prefix:"sse-"`
}

// Help is shown below the flags.
func (submitCommand) Help() string {
	return "Example: printf '親子丼 850円\\n冷奴 350円\\n' | kondate submit - --follow"
}

// Run submits the menu.
func (c submitCommand) Run(ctx context.Context, env environment) error {
	raw, err := readInput(c.File, env.stdin)
	if err != nil {
		return err
	}
	body, err := readMenu(raw)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	answer, err := cl.submit(ctx, body)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := json.NewEncoder(env.stdout).Encode(answer); err != nil {
			return fmt.Errorf("print the answer: %w", err)
		}
	} else {
		fmt.Fprintf(env.stdout, "session %s: %d dishes accepted\n", answer.SessionID, len(answer.Items))
	}
	if !c.Follow {
		return nil
	}
	return watch(ctx, env, cl, answer.StreamURL, c.Retry, c.JSON)
}

func readInput(file string, stdin io.Reader) ([]byte, error) {
	if file == "-" {
		raw, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("read the menu from standard input: %w", err)
		}
		return raw, nil
	}
	raw, err := os.ReadFile(file) //nolint:gosec // the caller names the file
	if err != nil {
		return nil, fmt.Errorf("read the menu: %w", err)
	}
	return raw, nil
}
