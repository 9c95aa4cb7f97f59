package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"kondate/handlers/asyncapi/asyncapitest"
)

var updateDocs = flag.Bool("update-docs", false, "write docs/asyncapi.json")

// docs/asyncapi.json is what a server with the default settings answers. go generate writes it.
func TestMessageDocs(t *testing.T) {
	t.Parallel()
	const file = "../../docs/asyncapi.json"
	cfg, err := parseServe()
	if err != nil {
		t.Fatal(err)
	}
	document, err := describeMessages(cfg.SSE.ChannelPrefix)
	if err != nil {
		t.Fatal(err)
	}
	asyncapitest.New(t, document)
	var want bytes.Buffer
	if err := json.Indent(&want, document, "", " "); err != nil {
		t.Fatal(err)
	}
	want.WriteByte('\n')
	if have, err := os.ReadFile(file); err == nil && bytes.Equal(have, want.Bytes()) {
		return
	}
	if !*updateDocs {
		t.Fatalf("%s is out of date: go generate ./cmd/kondate", file)
	}
	if err := os.WriteFile(file, want.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
