package stage_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/handlers/stage"
	"kondate/streams"
)

// queue stands for the stages' consumers and the clock of retries: a test makes the deliveries by hand. The subscriber
// over it is the real one.
type queue struct {
	mu        sync.Mutex // guards the fields below
	consumers map[string]*consumer
	waiting   []schedule
	known     map[string]bool // ids of schedules
	ended     bool
}

type schedule struct {
	stage menu.Stage
	event *nats.Msg
	at    time.Time
}

func newQueue() *queue { return &queue{consumers: map[string]*consumer{}, known: map[string]bool{}} }

// Schedule keeps an event until a test asks what is due.
func (q *queue) Schedule(_ context.Context, s menu.Stage, event *nats.Msg, at time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if id := event.Header.Get(jetstream.MsgIDHeader); !q.known[id] {
		q.known[id] = true
		q.waiting = append(q.waiting, schedule{s, event, at})
	}
	return nil
}

func (q *queue) Redeliver(ctx context.Context, s menu.Stage, event *nats.Msg) error {
	return q.Schedule(ctx, s, event, time.Now())
}

func (q *queue) Idle(context.Context, menu.Stage) (bool, error) { return true, nil }

// next takes the first schedule of a stage out; false if there is none.
func (q *queue) next(s menu.Stage) (schedule, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting {
		if w.stage == s {
			q.waiting = append(q.waiting[:i:i], q.waiting[i+1:]...)
			return w, true
		}
	}
	return schedule{}, false
}

// lose takes the first schedule of a stage out as if it had never been made.
func (q *queue) lose(s menu.Stage) schedule {
	w, _ := q.next(s)
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.known, w.event.Header.Get(jetstream.MsgIDHeader))
	return w
}

// retry hands a scheduled event to the stage's retry consumer.
func (q *queue) retry(w schedule, n uint64) *delivery {
	header := maps.Clone(w.event.Header)
	header.Set("Kondate-Subject", w.event.Subject)
	d := &delivery{entry: eventstore.Entry{Header: header, Data: w.event.Data}, stream: streams.RetryStream, n: n, verdict: make(chan verdict, 1)}
	q.of(streams.RetryConsumer(w.stage)).msgs <- d
	return d
}

func (q *queue) consumer(_ context.Context, name string) (jetstream.Consumer, error) {
	return q.of(name), nil
}

func (q *queue) of(name string) *consumer {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.consumers[name] == nil {
		msgs := make(chan jetstream.Msg)
		q.consumers[name] = &consumer{msgs: msgs, end: sync.OnceFunc(func() { close(msgs) })}
		if q.ended { // the engine was told to stop before it had all its consumers
			q.consumers[name].end()
		}
	}
	return q.consumers[name]
}

// consumer has a single pull that never ends.
type consumer struct {
	jetstream.Consumer
	msgs chan jetstream.Msg
	end  func()
}

func (c *consumer) Fetch(int, ...jetstream.FetchOpt) (jetstream.MessageBatch, error) {
	return pull(c.msgs), nil
}

func (c *consumer) CachedInfo() *jetstream.ConsumerInfo {
	return &jetstream.ConsumerInfo{Config: jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute}}
}

type pull chan jetstream.Msg

func (p pull) Messages() <-chan jetstream.Msg { return p }
func (p pull) Error() error                   { return nil }

// end ends the pulls. A subscriber that closes would look for what they still bring, for a while that a fake clock
// cannot wait out: Watermill's router closes under a mutex.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	for _, c := range q.consumers {
		c.end()
	}
}

// deliver hands an entry to a stage for the nth time.
func (q *queue) deliver(s menu.Stage, entry eventstore.Entry, n uint64) *delivery {
	d := &delivery{entry: entry, stream: streams.EventStream, n: n, verdict: make(chan verdict, 1)}
	q.of(streams.StageConsumer(s)).msgs <- d
	return d
}

// delivery is one delivery of a message of the log.
type delivery struct {
	jetstream.Msg // only what is used is there

	entry   eventstore.Entry
	stream  string
	n       uint64
	verdict chan verdict
}

type verdict struct {
	acked bool
	delay time.Duration // before it comes again
}

// settled waits until the delivery is acknowledged, or has to come again after a delay.
func (d *delivery) settled() (acked bool, delay time.Duration) {
	v := <-d.verdict
	return v.acked, v.delay
}

func (d *delivery) answer(v verdict) error {
	select {
	case d.verdict <- v:
		return nil
	default:
		panic("a second answer to one delivery")
	}
}

func (d *delivery) Subject() string                        { return streams.EventSubject(d.entry.Key, d.entry.Type) }
func (d *delivery) Headers() nats.Header                   { return d.entry.Header }
func (d *delivery) Data() []byte                           { return d.entry.Data }
func (d *delivery) DoubleAck(context.Context) error        { return d.answer(verdict{acked: true}) }
func (d *delivery) Nak() error                             { return d.answer(verdict{}) }
func (d *delivery) NakWithDelay(delay time.Duration) error { return d.answer(verdict{delay: delay}) }
func (d *delivery) InProgress() error                      { return nil }

func (d *delivery) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{
		Stream: d.stream, NumDelivered: d.n, Timestamp: time.Now(), Sequence: jetstream.SequencePair{Stream: d.entry.Seq},
	}, nil
}

// workbench is an engine at work on a log in memory.
type workbench struct {
	queue  *queue
	log    *eventstore.Memory
	engine *stage.Engine
	stop   func() // and wait
}

// setup starts an engine with the provider behind every stage.
func setup(tb testing.TB, p stage.Provider, change ...func(*stage.Config)) *workbench {
	tb.Helper()
	log := eventstore.NewMemory(0)
	return setupOn(tb, log, log, p, change...)
}

// setupOn starts an engine that records through a log of the test's own.
func setupOn(tb testing.TB, memory *eventstore.Memory, log stage.Log, p stage.Provider, change ...func(*stage.Config)) *workbench {
	tb.Helper()
	cfg := config(p)
	for _, fn := range change {
		fn(&cfg)
	}
	w := &workbench{queue: newQueue(), log: memory}
	engine, stop := start(tb, log, w.queue, w.queue.consumer, cfg)
	w.engine = engine
	w.stop = func() {
		w.queue.end()
		stop()
	}
	return w
}

// start runs an engine until stop is called, which waits for its end.
func start(tb testing.TB, log stage.Log, retries stage.Retries, consumer func(context.Context, string) (jetstream.Consumer, error), cfg stage.Config) (engine *stage.Engine, stop func()) {
	tb.Helper()
	engine, err := stage.New(log, retries, consumer, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	return engine, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
}

// submit appends a menu of n dishes and returns its chunks.
func (w *workbench) submit(tb testing.TB, session menu.SessionID, n int) []eventstore.Entry {
	tb.Helper()
	key := menu.Key{Tenant: menu.DefaultTenant, Session: session}
	if _, err := w.log.AppendMenu(context.Background(), key, 0, submission(tb, key, n)...); err != nil {
		tb.Fatal(err)
	}
	return w.history(tb, session)
}

func (w *workbench) history(tb testing.TB, session menu.SessionID) []eventstore.Entry {
	tb.Helper()
	entries, err := w.log.Load(context.Background(), menu.Key{Tenant: menu.DefaultTenant, Session: session})
	if err != nil {
		tb.Fatal(err)
	}
	return entries
}
