package eventstore_test

import (
	"errors"
	"log/slog"
	"testing"

	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/eventstore/storetest"
	"kondate/streams/natstest"
)

// Whoever counts appends is told of each how it ended.
func TestAppendsAreTold(t *testing.T) {
	t.Parallel()
	var told []eventstore.Appended
	broker := natstest.New(t)
	store := eventstore.NewJetStream(broker.JetStream(), eventstore.Config{
		MaxEventSize: storetest.MaxEventSize, Logger: slog.New(slog.DiscardHandler), Appended: func(a eventstore.Appended) { told = append(told, a) },
	})
	key, events := menutest.Key("s1"), storetest.Propose(menutest.Submitted(menutest.Items("d", 2)))
	for range 2 {
		if _, err := store.AppendMenu(t.Context(), key, 0, events...); err != nil {
			t.Fatal(err)
		}
	}
	other := storetest.Propose(menutest.Submitted(menutest.Items("e", 1)))
	if _, err := store.AppendMenu(t.Context(), key, 0, other...); !errors.Is(err, eventstore.ErrConflict) {
		t.Fatal(err)
	}
	if _, err := store.Append(t.Context(), key); err != nil { // there is nothing to send, and nothing to tell
		t.Fatal(err)
	}
	want := []eventstore.Appended{
		{Answer: eventstore.AnswerCommitted},
		{Answer: eventstore.AnswerAlready, ReadBack: true}, // the broker calls a guarded append that was repeated a conflict
		{Answer: eventstore.AnswerConflict, ReadBack: true},
	}
	if len(told) != len(want) {
		t.Fatalf("told %+v", told)
	}
	for i, w := range want {
		if a := told[i]; a.Answer != w.Answer || a.ReadBack != w.ReadBack || a.Events != 1 || a.Bytes < 50 || a.Took <= 0 {
			t.Errorf("append %d: %+v", i, a)
		}
	}
}
