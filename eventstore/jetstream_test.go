package eventstore_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/eventstore"
	"kondate/eventstore/storetest"
	"kondate/streams"
)

func newJS(t *testing.T) jetstream.JetStream {
	t.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, MaxPayload: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(5 * time.Second) {
		t.Fatal("not ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: streams.EventStream, Subjects: []string{streams.AllEvents}, Storage: jetstream.FileStorage,
		AllowDirect: true, AllowAtomicPublish: true, Discard: jetstream.DiscardNew, Duplicates: 2 * time.Minute, MaxBytes: 1 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestJetStream(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Store {
		t.Helper()
		return eventstore.NewJetStream(newJS(t), eventstore.Config{MaxEventSize: storetest.MaxEventSize, Logger: slog.New(slog.DiscardHandler)})
	})
}
