package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"kondate/cmd/kondate/bench"
	"kondate/domain/menu"
	"kondate/handlers/sse/load"
	"kondate/streams"
)

const (
	// endToEndGoal is the share of the floor that many menus at once have to reach.
	endToEndGoal = 0.5
	// The providers that menus are measured with.
	providerNoop  = "no-op"
	providerLocal = "local"
	// menusInTurn is how many menus a round sends one after the other.
	menusInTurn = 10
	// requestsAtOnce is how many submissions are under way.
	requestsAtOnce = 16
	// benchStill is how long no menu may complete before a server counts as stuck: a menu of 10,000 dishes takes a while.
	benchStill = 2 * time.Minute
)

// benchEndToEnd measures menus from the POST on, in a server of its own process, beside the floor: one at a time until
// menu.completed is on the client's stream, and many at once until it is in the log.
func benchEndToEnd(ctx context.Context, env environment, s bench.Settings, profile string, report func(bench.Row)) error {
	for _, sync := range s.Syncs {
		if err := benchEndToEndOf(ctx, env, s, sync, profile, report); err != nil {
			return err
		}
	}
	return nil
}

func benchEndToEndOf(ctx context.Context, env environment, s bench.Settings, sync, profile string, report func(bench.Row)) (err error) {
	floor, err := bench.StartFloor(ctx, s, sync)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.Close(ctx)) }()
	body, err := sampleBody(bench.Dishes)
	if err != nil {
		return err
	}
	alone := func(ctx context.Context) (float64, error) {
		return inTurn(menusInTurn, func(int) (time.Duration, error) { return floor.Run(ctx, 1) })
	}
	for _, provider := range []string{providerNoop, providerLocal} {
		b := &benched{env: env, sync: sync, roles: allRoles(), noop: provider == providerNoop, Server: &load.Server{}}
		if profile != "" {
			b.profile = filepath.Join(profile, provider+"-"+sync)
		}
		err := b.startOwn(ctx, s.Dir)
		var figures [][]float64
		if err == nil {
			cl := b.client()
			figures, err = bench.InTurn(ctx, s.Rounds, func(ctx context.Context) (float64, error) {
				return inTurn(menusInTurn, func(int) (time.Duration, error) { return submitAndFollow(ctx, cl, body) })
			}, alone, func(ctx context.Context) (float64, error) {
				took, err := b.submitMany(ctx, cl, body, s.Menus, s.Menus)
				return float64(s.Menus*bench.Dishes) / took.Seconds(), err
			}, func(ctx context.Context) (float64, error) {
				took, err := floor.Run(ctx, s.Menus)
				return float64(s.Menus*bench.Dishes) / took.Seconds(), err
			})
		}
		if err := errors.Join(err, b.stop(ctx)); err != nil {
			return err
		}
		goal := 0.0
		if provider == providerNoop {
			goal = endToEndGoal
		}
		report(bench.NewRow(partEndToEnd, fmt.Sprintf("one menu alone, %s, sync %s", provider, sync), bench.Milliseconds, figures[0], figures[1], 0))
		report(bench.NewRow(partEndToEnd, fmt.Sprintf("%d menus at once, %s, sync %s", s.Menus, provider, sync), bench.DishesPerSecond, figures[2], figures[3], goal))
	}
	return nil
}

// inTurn does something n times and returns the median in milliseconds.
func inTurn(n int, do func(i int) (time.Duration, error)) (float64, error) {
	took := make([]time.Duration, n)
	for i := range took {
		var err error
		if took[i], err = do(i); err != nil {
			return 0, err
		}
	}
	return bench.Quantile(took, 0.5).Seconds() * 1000, nil
}

// submitAndFollow takes one menu from the POST to menu.completed on its stream.
func submitAndFollow(ctx context.Context, cl *client, body []byte) (time.Duration, error) {
	began := time.Now()
	answer, err := cl.submit(ctx, body)
	if err != nil {
		return 0, err
	}
	var took time.Duration
	err = readStream(ctx, cl, answer.StreamURL, func(fr frame) error {
		if fr.event == string(menu.Completed{}.Type()) {
			took = time.Since(began)
		}
		return nil
	})
	return took, err
}

// readStream reads a session's stream to its end.
func readStream(ctx context.Context, cl *client, url string, fn func(frame) error) error {
	return newFollower(cl, url).run(ctx, fn)
}

// newFollower follows a stream as a client does that is measured: it comes back at once.
func newFollower(cl *client, url string) *follower {
	return &follower{client: cl, url: url, pause: time.Millisecond, attempts: 10, out: func(string, ...any) {}}
}

// submitMany submits a menu many times, inFlight of them at once at most, and returns how long it took until the last
// one's menu.completed was in the log.
func (b *benched) submitMany(ctx context.Context, cl *client, body []byte, menus, inFlight int) (time.Duration, error) {
	stream, err := b.log.js.Stream(ctx, streams.EventStream)
	if err != nil {
		return 0, fmt.Errorf("follow completions: %w", err)
	}
	// An ordered consumer notices what got lost between the broker and us, and asks for it again.
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{streams.TypeFilter(menu.Completed{}.Type())}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: stream.CachedInfo().State.LastSeq + 1,
	})
	if err != nil {
		return 0, fmt.Errorf("follow completions: %w", err)
	}
	completed, err := consumer.Messages()
	if err != nil {
		return 0, fmt.Errorf("follow completions: %w", err)
	}
	defer completed.Stop()
	began := time.Now()
	places := make(chan struct{}, inFlight)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		requests, ctx := errgroup.WithContext(ctx)
		requests.SetLimit(requestsAtOnce)
		for range menus {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return errors.Join(requests.Wait(), context.Cause(ctx))
			}
			requests.Go(func() error { _, err := cl.submit(ctx, body); return err })
		}
		return requests.Wait()
	})
	g.Go(func() error { return b.completions(ctx, completed, menus, func() { <-places }) })
	err = g.Wait()
	took := time.Since(began)
	cl.http.CloseIdleConnections()
	return took, err
}

// errStuck says that a server does no work any more.
var errStuck = errors.New("the server is stuck")

// completions calls done for each of n completions, and gives up on a server that has ended or is stuck.
func (b *benched) completions(ctx context.Context, completed jetstream.MessagesContext, n int, done func()) error {
	for last := time.Now(); n > 0; {
		switch _, err := completed.Next(jetstream.NextMaxWait(time.Second)); {
		case err == nil:
			n--
			last = time.Now()
			done()
		case !errors.Is(err, nats.ErrTimeout):
			return fmt.Errorf("follow completions: %w", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-b.own.ended:
			return fmt.Errorf("the server ended by itself: %w\n%s", b.own.err, b.own.log.Bytes())
		default:
		}
		if time.Since(last) > benchStill {
			return fmt.Errorf("%w: no menu was completed for %s, and %d are not yet", errStuck, benchStill, n)
		}
	}
	return nil
}

// client talks to the server, on as many connections as requests are under way.
func (b *benched) client() *client {
	transport := &http.Transport{MaxIdleConnsPerHost: requestsAtOnce}
	return &client{base: b.conn.HTTPURL, key: b.conn.Key, http: &http.Client{Transport: transport}}
}

// sampleBody is a submission of n dishes out of the sample menu.
func sampleBody(n int) ([]byte, error) {
	var sample submission
	if err := json.Unmarshal(sampleMenu, &sample); err != nil {
		return nil, fmt.Errorf("read the sample menu: %w", err)
	}
	s := submission{Title: "試験", SourceLanguage: "ja", TargetLanguage: "en"}
	for i := range n {
		item := sample.Items[i%len(sample.Items)]
		item.Price = fmt.Sprintf("%d円", 100+i)
		s.Items = append(s.Items, item)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode a submission: %w", err)
	}
	return raw, nil
}
