package streams_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/streams"
	"kondate/streams/natstest"
)

// Servers of a cluster are killed and come back, one after the other. Each has the whole log then, so that no majority
// forgets what was acknowledged. With compressed blocks the broker damages its copy; see Topology.compression.
func TestKilledReplicasKeepTheLog(t *testing.T) {
	t.Parallel()
	cluster := natstest.NewCluster(t)
	js := cluster.JetStream()
	sent := uint64(0)
	write := func(n int) {
		t.Helper()
		for range n {
			m := &nats.Msg{Subject: fmt.Sprintf("menu.evt.public.s%d.menu.submitted", sent), Data: bytes.Repeat([]byte("menu "), 400)}
			if _, err := js.PublishMsg(t.Context(), m, jetstream.WithRetryAttempts(20), jetstream.WithRetryWait(500*time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			sent++
		}
	}
	current := func() error {
		stream, err := js.Stream(t.Context(), streams.EventStream)
		if err != nil {
			return err
		}
		info := stream.CachedInfo()
		if info.State.LastSeq < sent || info.State.Msgs < sent {
			t.Fatalf("the log holds %d messages up to %d, %d were acknowledged", info.State.Msgs, info.State.LastSeq, sent)
		}
		if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != 2 {
			return fmt.Errorf("the group is %+v", info.Cluster)
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("%s is behind", r.Name)
			}
		}
		return nil
	}
	for round := range 9 {
		write(100)
		cluster.Kill(round % 3)
		write(20)
		cluster.Start(round % 3)
		for late := time.Now().Add(patience); ; {
			err := current()
			if err == nil {
				break
			}
			if time.Now().After(late) {
				t.Fatalf("round %d: %v", round, err)
			}
			<-time.After(50 * time.Millisecond)
		}
	}
}
