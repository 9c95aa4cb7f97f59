package sse

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"kondate/domain/menu"
	"kondate/eventstore"
)

const (
	// batchFrames and batchBytes bound what a reader takes from a window at once.
	batchFrames = 64
	batchBytes  = 64 << 10
	// maxEndPause is the longest wait before the end of the log is asked for again.
	maxEndPause = 2 * time.Second
	// lastWords is how long streams may take to end once nothing can be waited for any more.
	lastWords = 2 * time.Second
)

// Why streams are ended; the reason in the event closing.
const (
	closingShutdown = "shutdown"
	closingLog      = "log_unavailable"
	closingHistory  = "history_unavailable"
)

var errCut = errors.New("the server stops")

// Hub follows the log once for all streams of the process. It is safe for concurrent use.
type Hub struct {
	log      Log
	history  History
	channel  Channel
	cfg      Config
	reserved map[string]bool
	gate     *gate
	stats    counters
	older    *olderState

	closing     chan struct{} // closed when the streams have to end
	closingOnce sync.Once
	why         atomic.Pointer[string] // set before closing is closed

	mu      sync.Mutex // guards the fields below
	windows map[menu.Key]*window
	order   *list.List      // of *frame: all that the windows hold, oldest first
	bytes   int             // of these
	floor   uint64          // every event after it, up to head, is in its session's window, unless the window's own floor says otherwise
	head    uint64          // how far the log was followed
	life    context.Context //nolint:containedctx // the life of the streams: a hijacked connection has no other
	cut     context.CancelCauseFunc
	asking  context.Context //nolint:containedctx // the life of what streams ask: it ends when they have to
	hush    context.CancelFunc
}

// NewHub returns a hub. It takes streams while [Hub.Run] runs.
func NewHub(log Log, history History, channel Channel, cfg Config) (*Hub, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Hub{
		log: log, history: history, channel: channel, cfg: cfg.withDefaults(), reserved: reservedNames(), gate: newGate(cfg),
		older: newOlderState(), closing: make(chan struct{}),
		windows: map[menu.Key]*window{}, order: list.New(),
	}, nil
}

// Run follows the log and the channel. It blocks until ctx ends or the log cannot be followed (eventstore.ErrOtherLog:
// it was made anew), ends the streams that are still open, and returns the reason. A hub runs once.
func (h *Hub) Run(ctx context.Context) error {
	last, err := h.findEnd(ctx)
	if err != nil {
		return err
	}
	stop, err := h.channel.Subscribe(h.publish)
	if err != nil {
		return err
	}
	h.begin(ctx, last)
	g, tailCtx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.log.Follow(tailCtx, last, h.add) })
	g.Go(func() error { return h.expire(tailCtx) })
	err = g.Wait()
	why := closingLog
	if ctx.Err() != nil {
		why = closingShutdown
	}
	h.endStreams(why)
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	_ = h.drain(wait) // the reason to stop is the one to report
	return errors.Join(err, stop())
}

// findEnd returns the sequence of the log's newest event. A broker that is away is waited for, as it is later on: until
// then no stream is let in.
func (h *Hub) findEnd(ctx context.Context) (uint64, error) {
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = maxEndPause
	for {
		last, err := h.log.Last(ctx)
		if err == nil {
			return last, nil
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		h.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the end of the log cannot be found, trying again", slog.Any("error", err))
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// Close lets no stream in any more, tells the open ones to come back later, and returns when they have ended. Those
// that are still there when ctx ends are cut; Close then returns ctx's error.
func (h *Hub) Close(ctx context.Context) error {
	h.endStreams(closingShutdown)
	return h.drain(ctx)
}

func (h *Hub) begin(ctx context.Context, last uint64) {
	h.mu.Lock()
	h.floor, h.head = last, last
	h.life, h.cut = context.WithCancelCause(context.WithoutCancel(ctx))
	h.asking, h.hush = context.WithCancel(h.life)
	h.mu.Unlock()
	select {
	case <-h.closing: // closed before it ran
	default:
		h.gate.setOpen(true)
	}
}

func (h *Hub) endStreams(why string) {
	h.closingOnce.Do(func() {
		h.gate.setOpen(false)
		h.why.Store(&why)
		close(h.closing)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.hush != nil {
			h.hush()
		}
	})
}

// drain waits for the streams and, when ctx ends, cuts their connections.
func (h *Hub) drain(ctx context.Context) error {
	err := h.gate.wait(ctx)
	h.mu.Lock()
	cut := h.cut
	h.mu.Unlock()
	if cut == nil {
		return nil // it never ran
	}
	cut(errCut)
	if err == nil {
		return nil
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	return fmt.Errorf("streams had to be cut: %w", errors.Join(err, h.gate.wait(wait)))
}

// lifetime returns the context that streams live in.
func (h *Hub) lifetime() context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.life
}

// questions returns the context of what streams ask.
func (h *Hub) questions() context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asking
}

// add takes a page of the log into the windows and wakes the readers of its sessions.
func (h *Hub) add(_ context.Context, page []eventstore.Entry) error {
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range page {
		h.head = e.Seq
		if f := newFrame(e); f != nil {
			f.arrived = now
			h.keep(f)
		}
	}
	h.evict(now)
	for _, e := range page {
		if w := h.windows[e.Key]; w != nil {
			w.wakeAll()
		}
	}
	return nil
}

func (h *Hub) keep(f *frame) {
	w := h.window(f.key)
	if n := len(w.frames); n > 0 && w.frames[n-1].isErased() {
		return // nothing is said after the tombstone, and what comes late is on its way out
	}
	if f.isErased() {
		for len(w.frames) > 0 {
			h.drop(w.frames[0])
		}
		w.floor = f.seq - 1 // what was said before the tombstone is not said again
	}
	f.place = h.order.PushBack(f)
	w.frames = append(w.frames, f)
	w.bytes += f.size
	h.bytes += f.size
	for len(w.frames) > 1 && (len(w.frames) > h.cfg.Window.Events || w.bytes > h.cfg.Window.Bytes) {
		h.drop(w.frames[0])
	}
}

// evict forgets the oldest events of all sessions until the bounds hold.
func (h *Hub) evict(now time.Time) {
	limit, stale := h.cfg.Window, now.Add(-h.cfg.Window.Age)
	for e := h.order.Front(); e != nil; e = h.order.Front() {
		f, ok := e.Value.(*frame)
		if !ok || (h.order.Len() <= limit.TotalEvents && h.bytes <= limit.TotalBytes && !f.arrived.Before(stale)) {
			return
		}
		h.floor = max(h.floor, f.seq)
		h.drop(f)
		h.forget(h.windows[f.key])
	}
}

// drop takes the oldest frame out of its window.
func (h *Hub) drop(f *frame) {
	w := h.windows[f.key]
	w.floor = max(w.floor, f.seq)
	w.frames[0] = nil
	w.frames = w.frames[1:]
	w.bytes -= f.size
	h.bytes -= f.size
	h.order.Remove(f.place)
	f.place = nil
}

// window returns a session's window; a new one knows as much as the hub does.
func (h *Hub) window(key menu.Key) *window {
	w := h.windows[key]
	if w == nil {
		w = &window{key: key, floor: h.floor}
		h.windows[key] = w
	}
	return w
}

// forget lets go of a window that holds nothing for nobody. Its floor is not above the hub's: the last frame that left
// it went by evict.
func (h *Hub) forget(w *window) {
	if len(w.frames) == 0 && w.readers == 0 {
		delete(h.windows, w.key)
	}
}

// expire evicts by age while nothing comes.
func (h *Hub) expire(ctx context.Context) error {
	tick := time.NewTicker(max(h.cfg.Window.Age/8, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.mu.Lock()
			h.evict(h.cfg.Now())
			h.mu.Unlock()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// attach makes somebody a reader of a session, who hears live messages from now on. It calls detach at the end.
func (h *Hub) attach(key menu.Key) (w *window, heard uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w = h.window(key)
	w.readers++
	return w, w.said
}

func (h *Hub) detach(w *window) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.readers--
	h.forget(w)
}

// batch is what a reader has not read yet.
type batch struct {
	floor  uint64 // a reader that is below has to read older history first; then nothing else is set
	frames []*frame
	full   bool   // there may be more
	head   uint64 // if not full: the session has no other event up to here
	live   [][]byte
	heard  uint64
	wake   <-chan struct{} // if not full: closed when there is more
}

// read returns what the session of w holds for a reader. It never waits. into is reused.
func (h *Hub) read(w *window, pos, heard uint64, into []*frame) batch {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := batch{floor: w.floor}
	if pos < w.floor {
		return b
	}
	if b.frames, b.full = w.after(pos, batchFrames, batchBytes, into); b.full {
		return b
	}
	b.head, b.heard, b.wake = h.head, w.said, w.waiter()
	if heard < w.said {
		b.live = w.heardAfter(heard, nil)
	}
	return b
}

// position returns how far the log was followed, and from where on a window is whole.
func (h *Hub) position(w *window) (head, floor uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.head, w.floor
}
