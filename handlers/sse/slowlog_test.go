package sse_test

import (
	"context"
	"strconv"
	"sync"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// slowLog is a log whose tail can be held up, and whose pages can fail.
type slowLog struct {
	*eventstore.Memory

	mu      sync.Mutex // guards the fields below
	passing chan struct{}
	pageErr error
}

func newSlowLog() *slowLog {
	l := &slowLog{Memory: eventstore.NewMemory(0), passing: make(chan struct{})}
	close(l.passing)
	return l
}

// hold stops the tail before the next page.
func (l *slowLog) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passing = make(chan struct{})
}

func (l *slowLog) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.passing)
}

func (l *slowLog) failPages(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pageErr = err
}

func (l *slowLog) Follow(ctx context.Context, after uint64, fn func(context.Context, []eventstore.Entry) error) error {
	return l.Memory.Follow(ctx, after, func(ctx context.Context, page []eventstore.Entry) error {
		l.mu.Lock()
		passing := l.passing
		l.mu.Unlock()
		select {
		case <-passing:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return fn(ctx, page)
	})
}

func (l *slowLog) LoadPage(ctx context.Context, key menu.Key, after uint64, limit int) ([]eventstore.Entry, error) {
	l.mu.Lock()
	err := l.pageErr
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return l.Memory.LoadPage(ctx, key, after, limit)
}

func uintString(n uint64) string { return strconv.FormatUint(n, 10) }
