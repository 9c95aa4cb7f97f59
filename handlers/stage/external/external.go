package external

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
	"kondate/eventstore"
	"kondate/eventstore/trail"
	"kondate/handlers/stage"
	"kondate/streams"
)

// Name is the provider's name in failures. A result carries the name that its worker gave.
const Name = "external"

// The reasons that this provider itself gives for a failed attempt, besides those of the engine.
const (
	ReasonNoResponders = "no_responders" // no worker is connected
	ReasonIncomplete   = "incomplete"    // the final reply came without the dish's result
)

const (
	// maxPending and maxPendingBytes bound the replies to one request that wait to be read.
	maxPending      = 1024
	maxPendingBytes = 8 << 20
)

// Provider asks the workers of one stage. It is safe for concurrent use.
type Provider struct {
	conn    *nats.Conn
	stage   menu.Stage
	version string
}

// New returns the provider of one stage; version tells results of another state of the workers' knowledge apart. The
// connection stays the caller's.
func New(conn *nats.Conn, s menu.Stage, version string) *Provider {
	return &Provider{conn: conn, stage: s, version: version}
}

// Name returns "external".
func (p *Provider) Name() string { return Name }

// Version returns what the operator calls the state of the workers' knowledge; each result says its worker's own.
func (p *Provider) Version() string { return p.version }

// Answer asks one worker for one dish and returns as soon as a reply holds its result.
func (p *Provider) Answer(ctx context.Context, r stage.Request) (menu.Result, error) {
	start := time.Now()
	replies, err := send(ctx, p.conn, streams.WorkSubject(r.Key.Tenant, p.stage), request{
		SessionID: r.Key.Session, SourceLanguage: r.SourceLanguage, TargetLanguage: r.TargetLanguage,
		Epoch: r.Epoch, Attempt: r.Attempt, Items: []menu.Item{r.Item},
	})
	if err != nil {
		return menu.Result{}, err
	}
	defer replies.Unsubscribe() //nolint:errcheck // fails only if the connection is closed, which ends it as well
	for {
		m, err := replies.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return menu.Result{}, context.Cause(ctx)
		case errors.Is(err, nats.ErrNoResponders):
			return menu.Result{}, &stage.Error{Reason: ReasonNoResponders, Away: true, Err: fmt.Errorf(
				"no worker answers on %s: start one, or set stages.%s.provider to local", streams.WorkSubject(r.Key.Tenant, p.stage), p.stage)}
		case errors.Is(err, nats.ErrSlowConsumer):
			return menu.Result{}, invalid(errors.New("the worker sends more replies than a request can have"))
		case err != nil:
			return menu.Result{}, fmt.Errorf("wait for the worker's reply: %w", err)
		}
		result, found, err := p.read(m, r.Item.ID)
		if err != nil {
			return menu.Result{}, err
		}
		if found {
			if result.ElapsedMS == 0 {
				result.ElapsedMS = time.Since(start).Milliseconds()
			}
			return result, nil
		}
	}
}

// read looks for a dish's result in a reply; not found means that another reply follows.
func (p *Provider) read(m *nats.Msg, id menu.DishID) (result menu.Result, found bool, err error) {
	r, err := decodeReply(m.Data)
	if err != nil {
		return result, false, invalid(err)
	}
	if r.err != nil {
		return result, false, &stage.Error{Reason: r.err.reason, Permanent: r.err.permanent, Err: errors.New("the worker gives this reason")}
	}
	for _, d := range r.results {
		if d.id != id {
			return result, false, invalid(fmt.Errorf("%s is for the dish %q, asked was %q", d.path, d.id, id))
		}
		if found {
			return result, false, invalid(fmt.Errorf("%s is the second one for the dish %q", d.path, d.id))
		}
		if result, err = d.check(p.stage); err != nil {
			return result, false, invalid(err)
		}
		found = true
	}
	if !found && final(m) {
		return result, false, &stage.Error{Reason: ReasonIncomplete, Err: fmt.Errorf("the worker's final reply came without a result for the dish %q", id)}
	}
	return result, found, nil
}

// invalid is a temporary failure: the next worker may be a better one.
func invalid(err error) error { return &stage.Error{Reason: stage.ReasonInvalidResult, Err: err} }

func final(m *nats.Msg) bool { return m.Header.Get(HeaderFinal) == FinalValue }

// send publishes a request and returns the subscription on which its replies come; the caller ends it. Each request has
// an inbox of its own, so a reply that comes too late reaches nobody. It carries the trace that ctx is part of.
func send(ctx context.Context, conn *nats.Conn, subject string, r request) (*nats.Subscription, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	inbox := conn.NewInbox()
	replies, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("listen for the worker's replies: %w", err)
	}
	if err = replies.SetPendingLimits(maxPending, maxPendingBytes); err == nil {
		msg := &nats.Msg{Subject: subject, Reply: inbox, Data: body}
		if parent := trail.TraceParent(ctx); parent != "" {
			msg.Header = nats.Header{eventstore.HeaderTraceParent: {parent}}
		}
		err = conn.PublishMsg(msg)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("send the request to %s: %w", subject, err), replies.Unsubscribe())
	}
	return replies, nil
}

var _ stage.Provider = (*Provider)(nil)
