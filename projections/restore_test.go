package projections_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/projections"
	"kondate/streams"
	"kondate/streams/natstest"
)

// recorded is what a restore keeps of an event.
type recorded struct {
	ID, Subject, Time, Body string
	Causation, Schema       string
}

func events(f *fixture, log *eventstore.JetStream) []recorded {
	f.Helper()
	var all []recorded
	for at := uint64(0); ; {
		entries, err := log.Read(f.Context(), at, 1000)
		if err != nil {
			f.Fatal(err)
		}
		if len(entries) == 0 {
			return all
		}
		for _, e := range entries {
			all = append(all, recorded{
				e.ID, streams.EventSubject(e.Key, e.Type), e.Header.Get(eventstore.HeaderTime), string(e.Data),
				e.Header.Get(eventstore.HeaderCausation), e.Header.Get(eventstore.HeaderSchema),
			})
			at = e.Seq
		}
	}
}

// lostLog is a projected log of more than a page, whose projector has stopped.
func lostLog(t *testing.T, dir string) (f *fixture, broker *natstest.Server, log *eventstore.JetStream, cfg projections.ProjectorConfig) {
	t.Helper()
	f = newFixture(t)
	broker = natstest.NewWith(t, streams.ServerConfig{StoreDir: dir})
	log, js, cfg := realLog(broker)
	stop := f.project(log, cfg)
	for i := range 150 {
		runSession(f, log, menutest.Key(fmt.Sprintf("s%d", i)), 1)
	}
	key := menutest.Key("s0")
	f.completed(log, key, 1)
	// What a log may hold besides: a second message with the id of an event, and one that nobody can read.
	twice, err := eventstore.Encode(key, propose(menutest.Completed(menu.Allergen, "s0-0"))[0])
	if err != nil {
		t.Fatal(err)
	}
	twice.Header.Del(jetstream.MsgIDHeader)
	broken, err := eventstore.Encode(key, propose(menutest.Completed(menu.Task6, "s0-0"))[0])
	if err != nil {
		t.Fatal(err)
	}
	broken.Header.Del(jetstream.MsgIDHeader)
	broken.Data = []byte("{\x00")
	for range 2 {
		if _, err := js.PublishMsg(t.Context(), twice); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.PublishMsg(t.Context(), broken); err != nil {
		t.Fatal(err)
	}
	f.eventually("every session to be completed", func() bool {
		return f.count("select count(*) from sessions where status <> 'completed'") == 0 && f.last(log) == f.checkpoint()
	})
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return f, broker, log, cfg
}

// The whole stream is lost. What history brings back is the same log, and everything goes on from there.
func TestRestoreWholeLog(t *testing.T) {
	t.Parallel()
	f, broker, log, cfg := lostLog(t, "")
	before := events(f, log)
	js := broker.JetStream()
	if err := js.DeleteStream(t.Context(), streams.EventStream); err != nil {
		t.Fatal(err)
	}
	if err := streams.Ensure(t.Context(), js, broker.Topology()); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	if _, err := projections.Restore(ctx, f.pool, log, cfg, func(projections.Progress) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Fatalf("a restore that was stopped ended with %v", err)
	}
	if last := f.last(log); last == 0 || last == uint64(len(before)) {
		t.Fatalf("the restore was stopped at %d of %d", last, len(before))
	}
	restored, err := projections.Restore(t.Context(), f.pool, log, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !restored.Whole || restored.Events != uint64(len(before)) || restored.LeftOut != 0 {
		t.Errorf("restored %+v, want %d events", restored, len(before))
	}
	if after := events(f, log); !reflect.DeepEqual(after, before) {
		t.Fatalf("the restored log has %d events, the lost one had %d, or they differ", len(after), len(before))
	}
	if err := projections.Settle(t.Context(), f.pool, log, cfg); err != nil {
		t.Fatal(err)
	}
	report, err := projections.NewOperations(f.pool, log, cfg).Verify(t.Context(), nil)
	if err != nil || report.Different > 0 || report.Events != int64(len(before)) {
		t.Fatalf("verify: %+v, %v", report, err)
	}
	if n := f.count("select count(*) from lost.history_0"); n != len(before) {
		t.Errorf("%d events of the old history are kept, want %d", n, len(before))
	}
	if _, err := projections.Restore(t.Context(), f.pool, log, cfg, nil); !errors.Is(err, projections.ErrNothingLost) {
		t.Errorf("a second restore ended with %v, want ErrNothingLost", err)
	}

	f.project(log, cfg)
	runSession(f, log, menutest.Key("later"), 2)
	f.completed(log, menutest.Key("later"), 1)
	f.equalsFold(log, menutest.Key("later"))
	f.equalsFold(log, menutest.Key("s0"))
}

// The stream has lost its last events, as after a power cut without fsync. They come back under their own sequences.
func TestRestoreLostEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, broker, log, cfg := lostLog(t, dir)
	before, last := events(f, log), f.last(log)
	identity, err := cfg.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	broker.Stop()
	store := filepath.Join(dir, "jetstream", "$G", "streams", streams.EventStream, "msgs")
	blocks, err := filepath.Glob(filepath.Join(store, "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no blocks in %s: %v", store, err)
	}
	newest := blocks[len(blocks)-1]
	info, err := os.Stat(newest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(newest, info.Size()-5000); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(store, "index.db")); err != nil {
		t.Fatal(err)
	}
	broker.Restart()
	if now, err := cfg.Identity(t.Context()); err != nil || now != identity || f.last(log) >= last {
		t.Fatalf("the log of stream %s ends at %d, want less than %d: %v", now, f.last(log), last, err)
	}
	if err := f.ends(log, cfg); !errors.Is(err, projections.ErrOtherStream) {
		t.Fatalf("a projector on a log that lost its end: %v", err)
	}
	restored, err := projections.Restore(t.Context(), f.pool, log, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if restored.Whole || f.last(log) != last {
		t.Errorf("restored %+v, the log ends at %d, want %d", restored, f.last(log), last)
	}
	if after := events(f, log); !reflect.DeepEqual(after, before) {
		t.Error("the restored log differs from the one before")
	}
	f.project(log, cfg)
	runSession(f, log, menutest.Key("later"), 2)
	f.completed(log, menutest.Key("later"), 1)
	f.equalsFold(log, menutest.Key("later"))
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	f, broker, log, cfg := lostLog(t, "")
	restore := func() error {
		_, err := projections.Restore(t.Context(), f.pool, log, cfg, nil)
		return err
	}
	stop := f.project(log, cfg)
	runSession(f, log, menutest.Key("seen"), 1)
	f.waitFor(f.last(log)) // it leads: the lock of the one before is of no help here
	if err := restore(); !errors.Is(err, projections.ErrBusy) {
		t.Errorf("a projector runs: %v", err)
	}
	_ = stop()
	if err := restore(); !errors.Is(err, projections.ErrNothingLost) {
		t.Errorf("nothing is lost: %v", err)
	}
	js := broker.JetStream()
	if err := js.DeleteStream(t.Context(), streams.EventStream); err != nil {
		t.Fatal(err)
	}
	if err := streams.Ensure(t.Context(), js, broker.Topology()); err != nil {
		t.Fatal(err)
	}
	runSession(f, log, menutest.Key("new"), 1)
	if err := restore(); !errors.Is(err, projections.ErrOwnEvents) {
		t.Errorf("the log has events of its own: %v", err)
	}
}
