package main

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
)

// receivedSpan is a span as a receiver of traces sees it.
type receivedSpan struct {
	name, trace, id, parent string
	attributes              map[string]string
	links                   []string // ids of spans
	process                 map[string]string
	failed                  bool
}

func (s receivedSpan) String() string { return s.name + " " + s.id + " under " + s.parent }

// receiver takes traces as OTLP over HTTP.
type receiver struct {
	url string

	mu      sync.Mutex // guards the fields below
	got     []receivedSpan
	headers []http.Header
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := r.take(req); err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) take(req *http.Request) error {
	if req.URL.Path != "/v1/traces" {
		return fmt.Errorf("traces came to %s", req.URL.Path)
	}
	plain, err := gzip.NewReader(req.Body)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(plain)
	if err != nil {
		return err
	}
	var sent collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(raw, &sent); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.headers = append(r.headers, req.Header.Clone())
	for _, of := range sent.GetResourceSpans() {
		process := attributesOf(of.GetResource().GetAttributes())
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				one := receivedSpan{
					name: s.GetName(), trace: hex.EncodeToString(s.GetTraceId()), id: hex.EncodeToString(s.GetSpanId()), parent: hex.EncodeToString(s.GetParentSpanId()),
					attributes: attributesOf(s.GetAttributes()), process: process, failed: s.GetStatus().GetMessage() != "",
				}
				for _, l := range s.GetLinks() {
					one.links = append(one.links, hex.EncodeToString(l.GetSpanId()))
				}
				r.got = append(r.got, one)
			}
		}
	}
	return nil
}

func attributesOf(pairs []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, p := range pairs {
		switch v := p.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[p.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			all[p.GetKey()] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_BoolValue:
			all[p.GetKey()] = fmt.Sprint(v.BoolValue)
		default:
			all[p.GetKey()] = fmt.Sprint(v)
		}
	}
	return all
}

// spans returns what came so far; of one trace, or of all for "".
func (r *receiver) spans(trace string) []receivedSpan {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.got), func(s receivedSpan) bool { return trace != "" && s.trace != trace })
}

// named returns the spans whose name begins so.
func named(spans []receivedSpan, prefix string) []receivedSpan {
	return slices.DeleteFunc(slices.Clone(spans), func(s receivedSpan) bool { return !strings.HasPrefix(s.name, prefix) })
}

// the returns the only span whose name begins so.
func the(t *testing.T, spans []receivedSpan, prefix string) receivedSpan {
	t.Helper()
	found := named(spans, prefix)
	if len(found) != 1 {
		t.Fatalf("%d spans %q, want one: %v", len(found), prefix, spans)
	}
	return found[0]
}
