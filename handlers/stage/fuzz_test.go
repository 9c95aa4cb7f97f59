package stage_test

import (
	"maps"
	"testing"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/streams"
)

// Whatever stands on a stage's subjects, the engine lives and the delivery has its verdict.
func FuzzDelivery(f *testing.F) {
	for _, msg := range poison(f) {
		f.Add("menu.submitted", msg.Header.Get(eventstore.HeaderSchema), msg.Data)
	}
	f.Add("menu.submitted", "1", []byte(`{"item_count":2,"items":[{"menu_id":"a","name":"丼"},{"menu_id":"a"},{"menu_id":"* >","name":"\u0000"}]}`))
	f.Add("allergen.retry_requested", "1", []byte(`{"stage":"allergen","menu_ids":["d0","d0",""],"epoch":-1}`))
	f.Add("task6.retry_requested", "1", []byte(`{"stage":"task6"}`))
	f.Add("allergen.completed", "1", []byte(`{"stage":"allergen"}`))
	w := setup(f, &scripted{answer: answerOK}, func(cfg *stage.Config) { cfg.MaxParallelTasks = 2 })
	f.Cleanup(w.stop)
	submitted := w.submit(f, "s", 2)[0]
	f.Fuzz(func(t *testing.T, typ, schema string, data []byte) {
		header := nats.Header{eventstore.HeaderSchema: {schema}}
		for name, values := range submitted.Header {
			if name != eventstore.HeaderSchema {
				header[name] = values
			}
		}
		subject := streams.EventSubject(submitted.Key, menu.Type(typ))
		entry := eventstore.Entry{Type: menu.Type(typ), Header: header, Data: data}
		entry.Seq, entry.Key = submitted.Seq, submitted.Key
		before := w.engine.SetAside(menu.Allergen)
		acked, delay := w.queue.deliver(menu.Allergen, entry, 2).settled()
		if !acked || delay != 0 {
			t.Errorf("%s: acked %v, comes again after %s", subject, acked, delay)
		}
		if eventstore.Decode(subject, 1, submitted.Time, header, data).Err != nil && w.engine.SetAside(menu.Allergen) == before {
			t.Errorf("%s: nobody can read it, and it was not set aside", subject)
		}
	})
}

// Whatever waits in the stream of retries, under whatever name, the engine lives and the delivery has its verdict.
func FuzzRetry(f *testing.F) {
	f.Add("menu.evt.public.s.allergen.attempt_failed", "2", []byte(`{"stage":"allergen","menu_ids":["d0","d0","x"],"epoch":0,"attempt":1,"retry_at":"2020-01-01T00:00:00Z"}`))
	f.Add("menu.evt.public.s.allergen.attempt_failed", "2", []byte(`{"stage":"allergen","menu_ids":["d0"],"attempt":-1,"retry_at":"9999-12-31T00:00:00Z"}`))
	f.Add("menu.evt.public.s.allergen.attempt_failed", "1", []byte(`{"stage":"task6","menu_ids":null,"retry_at":"2020-01-01T00:00:00Z"}`))
	f.Add("menu.evt.public.nobody.allergen.attempt_failed", "2", []byte(`{"stage":"allergen"}`))
	f.Add("menu.evt.public.s.menu.submitted", "1", []byte(`{"item_count":1,"items":[{"menu_id":"a"}]}`))
	f.Add("menu.retry.due.allergen", "2", []byte("{}"))
	f.Add("", "", []byte{})
	w := setup(f, &scripted{answer: answerOK}, func(cfg *stage.Config) { cfg.MaxParallelTasks = 2 })
	f.Cleanup(w.stop)
	submitted := w.submit(f, "s", 2)[0]
	f.Fuzz(func(t *testing.T, subject, schema string, data []byte) {
		header := maps.Clone(submitted.Header)
		header.Set(eventstore.HeaderSchema, schema)
		event := &nats.Msg{Subject: subject, Header: header, Data: data}
		acked, delay := w.queue.retry(schedule{stage: menu.Allergen, event: event}, 2).settled()
		decoded := eventstore.Decode(subject, 1, submitted.Time, header, data)
		if _, waits := decoded.Event.(menu.StageAttemptFailed); !acked && (!waits || delay <= 0) {
			t.Errorf("%s %s: comes again after %s", subject, data, delay)
		}
	})
}
