package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/eventstore"
	"kondate/projections/pgtest"
	"kondate/projections/postgres"
	"kondate/streams"
)

// floor is what the machine does with the same events and nothing of ours between broker and database: raw publishes,
// eight raw consumers that each publish one answer, and a loop that upserts rows with unnest.
type floor struct {
	js      jetstream.JetStream
	db      *pgx.Conn
	answers sync.Map // of a submission's subject: [menu.StageCount]*nats.Msg
	rounds  int
}

func newFloor(b *testing.B, policy string) *floor {
	b.Helper()
	syncs, err := streams.ParseSync(policy)
	if err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	dir := pgtest.Dir(b)
	broker, err := streams.StartServer(b.Context(), streams.ServerConfig{StoreDir: dir + "/nats", Sync: syncs, Logger: log})
	if err != nil {
		b.Fatal(err)
	}
	nc, err := broker.Connect()
	if err != nil {
		b.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	if err := streams.Ensure(b.Context(), js, streams.Topology{Replicas: 1, MaxBytes: 4 << 30, AckWait: 30 * time.Second}); err != nil {
		b.Fatal(err)
	}
	pg, err := postgres.Start(b.Context(), postgres.Config{Dir: dir + "/postgres", Logger: log})
	if err != nil {
		b.Fatal(err)
	}
	db, err := pgx.Connect(b.Context(), pg.URL())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := db.Exec(b.Context(), `
		create table rows (id text primary key, stages jsonb not null, last_seq bigint not null);
		create table history (seq bigint primary key, session text not null, data jsonb not null);
		create table checkpoint (seq bigint not null); insert into checkpoint values (0)`); err != nil {
		b.Fatal(err)
	}
	f := &floor{js: js, db: db}
	stagesCtx, stopStages := context.WithCancel(context.Background())
	var stages errgroup.Group
	for _, stage := range menu.Stages() {
		stages.Go(func() error { return f.stage(stagesCtx, stage) })
	}
	b.Cleanup(func() {
		stopStages()
		if err := stages.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			b.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, end := range []func(context.Context) error{db.Close, pg.Stop, func(context.Context) error { nc.Close(); return nil }, broker.Shutdown} {
			if err := end(ctx); err != nil {
				b.Error(err)
			}
		}
	})
	return f
}

// run takes sessions through the floor and returns how long it took from the first publish to the last completion's ack.
func (f *floor) run(b *testing.B, sessions int) time.Duration {
	b.Helper()
	f.rounds++
	submitted := make([]*nats.Msg, sessions)
	completed := map[string]*nats.Msg{} // by session
	for i := range sessions {
		key := menutest.Key(fmt.Sprintf("floor-%d-%d", f.rounds, i))
		items := menutest.Items(fmt.Sprintf("f%d-%d", f.rounds, i), benchDishes)
		submitted[i] = encode(b, key, menutest.Submitted(items))
		var msgs [menu.StageCount]*nats.Msg
		for _, stage := range menu.Stages() {
			e := menutest.Completed(stage, menutest.IDs(items)...)
			for j := range e.Results {
				e.Results[j].Result.Data = json.RawMessage(`{}`)
			}
			msgs[stage] = encode(b, key, e)
		}
		f.answers.Store(submitted[i].Subject, msgs)
		completed[string(key.Session)] = encode(b, key, menu.Completed{Round: 1, Items: benchDishes, Completed: benchDishes, FailedMenuIDs: []menu.DishID{}})
	}
	stream, err := f.js.Stream(b.Context(), streams.EventStream)
	if err != nil {
		b.Fatal(err)
	}
	projected := make(chan error, 1)
	began := time.Now()
	go func() { projected <- f.project(b.Context(), stream.CachedInfo().State.LastSeq, completed) }()
	if err := f.publish(b.Context(), submitted); err != nil {
		b.Fatal(err)
	}
	if err := <-projected; err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

func encode(b *testing.B, key menu.Key, e menu.Event) *nats.Msg {
	b.Helper()
	msg, err := eventstore.Encode(key, eventstore.Proposed{Event: e, Time: time.Now()})
	if err != nil {
		b.Fatal(err)
	}
	return msg
}

// publish sends without waiting for each acknowledgement, and then waits for all.
func (f *floor) publish(ctx context.Context, msgs []*nats.Msg) error {
	futures := make([]jetstream.PubAckFuture, len(msgs))
	for i, msg := range msgs {
		future, err := f.js.PublishMsgAsync(msg)
		if err != nil {
			return err
		}
		futures[i] = future
	}
	for _, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// stage answers every submission with one message.
func (f *floor) stage(ctx context.Context, stage menu.Stage) error {
	consumer, err := f.js.Consumer(ctx, streams.EventStream, streams.StageConsumer(stage))
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		batch, err := consumer.Fetch(100, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
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
			var out []*nats.Msg
			for _, m := range page {
				if msgs, ok := f.answers.Load(m.Subject()); ok {
					out = append(out, msgs.([menu.StageCount]*nats.Msg)[stage])
				}
			}
			if err := f.publish(ctx, out); err != nil {
				return err
			}
			for _, m := range page {
				if err := m.Ack(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// project upserts a page's rows, records its events, moves the checkpoint, and completes the sessions.
func (f *floor) project(ctx context.Context, after uint64, completed map[string]*nats.Msg) error {
	store := eventstore.NewJetStream(f.js, eventstore.Config{Logger: slog.New(slog.DiscardHandler)})
	answers, left := map[menu.SessionID]int{}, len(completed)
	err := store.Follow(ctx, after, func(ctx context.Context, page []eventstore.Entry) error {
		type update struct {
			stages string
			seq    int64
		}
		updates := map[string]update{} // a statement may touch a row once
		var seqs []int64
		var sessions, data []string
		var due []*nats.Msg
		for _, e := range page {
			seqs, sessions, data = append(seqs, int64(e.Seq)), append(sessions, string(e.Key.Session)), append(data, string(e.Data))
			switch event := e.Event.(type) {
			case menu.Submitted:
				for _, item := range event.Items {
					updates[string(item.ID)] = update{`{}`, int64(e.Seq)}
				}
			case menu.StageCompleted:
				for _, r := range event.Results {
					updates[string(r.ID)] = update{`{"` + event.Stage.String() + `":` + string(r.Result.Data) + `}`, int64(e.Seq)}
				}
				if answers[e.Key.Session]++; answers[e.Key.Session] == menu.StageCount {
					due = append(due, completed[string(e.Key.Session)])
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
			return err
		}
		if err := f.publish(ctx, due); err != nil {
			return err
		}
		if left -= len(due); left == 0 {
			return errAll
		}
		return nil
	})
	if left == 0 {
		return nil
	}
	return err
}
