package streams_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
)

// The embedded server admits the same users as a server of one's own, keeps the log that it had before there were any,
// and takes a change of users without a restart.
func TestEmbeddedUsers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := start(t, streams.ServerConfig{StoreDir: dir})
	js := embeddedJetStream(t, srv)
	if err := streams.Ensure(t.Context(), js, streams.Topology{Replicas: 1, MaxBytes: 1 << 28, AckWait: time.Second}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), mine, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	stop(t, srv)

	reader, seed, err := streams.NewUser("alpha", streams.RoleReader, "a", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := streams.StartServer(t.Context(), streams.ServerConfig{StoreDir: dir, Listen: "0.0.0.0:0", Logger: discard()}); err == nil || !strings.Contains(err.Error(), "kondate access nats add") {
		t.Errorf("a server without users listens for everybody: %v", err)
	}
	srv = start(t, streams.ServerConfig{StoreDir: dir, Listen: "0.0.0.0:0", Users: []streams.User{}, ChannelPrefix: "sse"})
	url := strings.Replace(srv.URL(), "0.0.0.0", "127.0.0.1", 1)
	user, err := streams.SeedOption(string(seed))
	if err != nil {
		t.Fatal(err)
	}
	for name, option := range map[string]nats.Option{"nobody": nats.Name("nobody"), "a user who is not there yet": user} {
		if _, err := nats.Connect(url, option); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s connected: %v", name, err)
		}
	}
	js = embeddedJetStream(t, srv)
	if _, err := streams.EnsureTeam(t.Context(), js, reader, false); err != nil {
		t.Fatal(err)
	}
	if err := srv.SetUsers([]streams.User{reader}); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc, err := nats.Connect(url, user, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	team, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := team.Consumer(t.Context(), streams.EventStream, streams.TeamConsumer("alpha"))
	if err != nil {
		t.Fatal(err)
	}
	msg, err := consumer.Next(jetstream.FetchMaxWait(patience))
	if err != nil || msg.Subject() != mine {
		t.Fatalf("the reader got %v, %v", msg, err)
	}
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := team.Stream(t.Context(), streams.EventStream); err == nil {
		t.Error("the reader may look at the stream")
	}
	if err := srv.SetUsers(nil); err != nil {
		t.Fatal(err)
	}
	receive(t, closed, "the end of a connection whose user is gone")
	if _, err := nats.Connect(url, user); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("a user who was removed connected: %v", err)
	}
	if _, err := js.Publish(t.Context(), foreign, []byte(`{}`)); err != nil {
		t.Errorf("the process itself lost its connection: %v", err)
	}
}

func embeddedJetStream(t *testing.T, srv *streams.Server) jetstream.JetStream {
	t.Helper()
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
