package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/streams"
)

// answerer is what eight raw consumers do with submissions: each publishes one message that was encoded before.
type answerer struct {
	js      jetstream.JetStream
	answers sync.Map // of a submission's subject: [menu.StageCount]*nats.Msg
}

// prepare encodes a menu's answers and returns its submission.
func (a *answerer) prepare(m menuEvents) (*nats.Msg, error) {
	submitted, err := encode(m.key, m.submitted)
	if err != nil {
		return nil, err
	}
	var msgs [menu.StageCount]*nats.Msg
	for st, answer := range m.answers {
		if msgs[st], err = encode(m.key, answer); err != nil {
			return nil, err
		}
	}
	a.answers.Store(submitted.Subject, msgs)
	return submitted, nil
}

// run answers until ctx ends.
func (a *answerer) run(ctx context.Context) error {
	g, working := errgroup.WithContext(ctx)
	for _, st := range menu.Stages() {
		g.Go(func() error { return a.stage(working, st) })
	}
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func (a *answerer) stage(ctx context.Context, st menu.Stage) error {
	consumer, err := a.js.Consumer(ctx, streams.EventStream, streams.StageConsumer(st))
	if err != nil {
		return fmt.Errorf("open the consumer of stage %s: %w", st, err)
	}
	for ctx.Err() == nil {
		pull, cancel := context.WithTimeout(ctx, time.Second)
		err := a.pull(pull, consumer, st)
		cancel()
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// pull answers what one pull brings, in pages of what is there.
func (a *answerer) pull(ctx context.Context, consumer jetstream.Consumer, st menu.Stage) error {
	batch, err := consumer.Fetch(100, jetstream.FetchContext(ctx))
	if err != nil {
		return fmt.Errorf("pull submissions: %w", err)
	}
	for msg := range batch.Messages() {
		page := []jetstream.Msg{msg}
		for more := true; more; {
			select {
			case next, open := <-batch.Messages():
				if more = open; open {
					page = append(page, next)
				}
			default:
				more = false
			}
		}
		if err := a.answer(context.WithoutCancel(ctx), page, st); err != nil {
			return err
		}
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) { // a pull ends at its deadline
		return fmt.Errorf("pull submissions: %w", err)
	}
	return nil
}

func (a *answerer) answer(ctx context.Context, page []jetstream.Msg, st menu.Stage) error {
	var out []*nats.Msg
	for _, m := range page {
		if msgs, ok := a.answers.Load(m.Subject()); ok {
			out = append(out, msgs.([menu.StageCount]*nats.Msg)[st]) //nolint:forcetypeassert // it is what prepare stores
		}
	}
	if err := publish(ctx, a.js, out); err != nil {
		return err
	}
	for _, m := range page {
		if err := m.Ack(); err != nil {
			return fmt.Errorf("ack a submission: %w", err)
		}
	}
	return nil
}

// Floor is what the machine does with the events of menus and nothing of ours between broker and database but the
// decoder: raw publishes, eight raw consumers that each publish one answer, and a loop that upserts rows with unnest.
type Floor struct {
	closer

	answerer

	store *eventstore.JetStream
	db    *pgx.Conn
	menus made

	ended chan struct{} // closed when nobody answers any more
	err   error         // why, to be read then
}

// StartFloor starts a broker, a database and the consumers. The caller ends it with Close.
func StartFloor(ctx context.Context, s Settings, sync string) (f *Floor, err error) {
	f = &Floor{menus: made{prefix: "floor"}, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(ctx))
		}
	}()
	b, err := startBroker(ctx, s, sync)
	if err != nil {
		return f, err
	}
	f.add(b.Close)
	f.js, f.store = b.js, eventstore.NewJetStream(b.js, eventstore.Config{Logger: s.Logger})
	pg, err := startDatabase(ctx, s)
	if err != nil {
		return f, err
	}
	f.add(pg.Close)
	if f.db, err = pgx.Connect(ctx, pg.url); err != nil {
		return f, fmt.Errorf("connect to Postgres: %w", err)
	}
	f.add(f.db.Close)
	if _, err := f.db.Exec(ctx, `
		create table rows (id text primary key, stages jsonb not null, last_seq bigint not null);
		create table history (seq bigint primary key, session text not null, data jsonb not null);
		create table checkpoint (seq bigint not null); insert into checkpoint values (0)`); err != nil {
		return f, fmt.Errorf("make the tables of the floor: %w", err)
	}
	answering, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		f.err = f.run(answering)
		close(f.ended)
	}()
	f.add(func(ctx context.Context) error {
		stop()
		select {
		case <-f.ended:
			return f.err
		case <-ctx.Done():
			return fmt.Errorf("stop the floor's consumers: %w", context.Cause(ctx))
		}
	})
	return f, nil
}

// Run takes menus through the floor and returns how long it took from the first publish to the last completion's ack.
func (f *Floor) Run(ctx context.Context, menus int) (time.Duration, error) {
	submitted := make([]*nats.Msg, menus)
	ends := map[menu.SessionID]*nats.Msg{}
	for i, m := range f.menus.take(menus) {
		var err error
		if submitted[i], err = f.prepare(m); err != nil {
			return 0, err
		}
		if ends[m.key.Session], err = encode(m.key, completed()); err != nil {
			return 0, err
		}
	}
	last, err := f.store.Last(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	projected := make(chan struct{})
	g.Go(func() error {
		defer close(projected)
		return f.project(ctx, last, ends)
	})
	g.Go(func() error { // without answers the projection would follow for ever
		select {
		case <-f.ended:
			return fmt.Errorf("the floor's consumers ended: %w", f.err)
		case <-projected:
			return nil
		}
	})
	g.Go(func() error { return publish(ctx, f.js, submitted) })
	err = g.Wait()
	return time.Since(began), err
}

// errAll says that a follower has seen all it waited for.
var errAll = errors.New("all are there")

// project upserts a page's rows, records its events, moves the checkpoint, and completes the sessions.
func (f *Floor) project(ctx context.Context, after uint64, ends map[menu.SessionID]*nats.Msg) error {
	answers, left := map[menu.SessionID]int{}, len(ends)
	err := f.store.Follow(ctx, after, func(ctx context.Context, page []eventstore.Entry) error {
		var due []*nats.Msg
		for _, e := range page {
			if _, ok := e.Event.(menu.StageCompleted); ok {
				if answers[e.Key.Session]++; answers[e.Key.Session] == menu.StageCount {
					due = append(due, ends[e.Key.Session])
				}
			}
		}
		if err := f.upsert(ctx, page); err != nil {
			return err
		}
		if err := publish(ctx, f.js, due); err != nil {
			return err
		}
		if left -= len(due); left == 0 {
			return errAll
		}
		return nil
	})
	if errors.Is(err, errAll) {
		return nil
	}
	return err
}

func (f *Floor) upsert(ctx context.Context, page []eventstore.Entry) error {
	type update struct {
		stages string
		seq    int64
	}
	updates := map[string]update{} // a statement may touch a row once
	var seqs []int64
	var sessions, data []string
	for _, e := range page {
		seq := int64(e.Seq) //nolint:gosec // sequences stay below 2^63
		seqs, sessions, data = append(seqs, seq), append(sessions, string(e.Key.Session)), append(data, string(e.Data))
		switch event := e.Event.(type) { //nolint:gochecksumtype // only these carry rows
		case menu.Submitted:
			for _, item := range event.Items {
				updates[string(item.ID)] = update{`{}`, seq}
			}
		case menu.StageCompleted:
			for _, r := range event.Results {
				updates[string(r.ID)] = update{`{"` + event.Stage.String() + `":` + string(r.Result.Data) + `}`, seq}
			}
		}
	}
	var ids, stages []string
	var last []int64
	for id, u := range updates {
		ids, stages, last = append(ids, id), append(stages, u.stages), append(last, u.seq)
	}
	var batch pgx.Batch
	batch.Queue(`insert into rows as r select * from unnest($1::text[], $2::jsonb[], $3::bigint[])
		on conflict (id) do update set stages = r.stages || excluded.stages, last_seq = excluded.last_seq`, ids, stages, last)
	batch.Queue(`insert into history select * from unnest($1::bigint[], $2::text[], $3::jsonb[])`, seqs, sessions, data)
	batch.Queue(`update checkpoint set seq = $1`, seqs[len(seqs)-1])
	if err := f.db.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("upsert a page: %w", err)
	}
	return nil
}
