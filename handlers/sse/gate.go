package sse

import (
	"context"
	"errors"
	"sync"
	"time"

	"kondate/domain/menu"
)

// Why a stream is not let in.
var (
	errNotOpen     = errors.New("the server does not take streams at the moment")
	errFull        = errors.New("as many streams are open as the server takes")
	errSessionFull = errors.New("as many streams of this session are open as the server takes")
	errAddressFull = errors.New("as many streams are open from this address as the server takes")
	errPlaceGone   = errors.New("the place was given back before the stream began")
)

// reservation is how long a place is kept for a request whose stream has not begun. The HTTP server may drop a
// connection between the answer of a handler and the stream, without telling anybody.
const reservation = 10 * time.Second

// gate counts the open streams and holds new ones back.
type gate struct {
	max, maxPerSession, maxPerAddress int

	streams sync.WaitGroup

	mu         sync.Mutex // guards the fields below
	open       bool
	total      int
	perSession map[menu.Key]int
	perAddress map[string]int
}

func newGate(cfg Config) *gate {
	return &gate{
		max: cfg.MaxConnections, maxPerSession: cfg.MaxConnectionsPerSession, maxPerAddress: cfg.MaxConnectionsPerAddress,
		perSession: map[menu.Key]int{}, perAddress: map[string]int{},
	}
}

// setOpen lets streams in, or none any more.
func (g *gate) setOpen(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = open
}

func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// count returns the number of places taken.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}

// enter takes a place for a stream. The caller calls begin in the stream, and leave at its end; a place whose stream
// never begins is given back by itself.
func (g *gate) enter(key menu.Key, address string) (*place, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.open:
		return nil, errNotOpen
	case g.total >= g.max:
		return nil, errFull
	case g.maxPerSession > 0 && g.perSession[key] >= g.maxPerSession:
		return nil, errSessionFull
	case g.maxPerAddress > 0 && g.perAddress[address] >= g.maxPerAddress:
		return nil, errAddressFull
	}
	g.total++
	g.perSession[key]++
	g.perAddress[address]++
	g.streams.Add(1)
	p := &place{gate: g, key: key, address: address}
	p.unused = time.AfterFunc(reservation, p.leave)
	return p, nil
}

// wait returns when every stream has ended, or with ctx's error. The gate must be shut.
func (g *gate) wait(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		g.streams.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// place is one stream's place. It is given back exactly once.
type place struct {
	gate    *gate
	key     menu.Key
	address string
	unused  *time.Timer
	once    sync.Once
}

// begin says that the stream runs; it fails if the place was given back meanwhile.
func (p *place) begin() error {
	if !p.unused.Stop() {
		return errPlaceGone
	}
	return nil
}

// leave gives the place back.
func (p *place) leave() {
	p.once.Do(func() {
		g := p.gate
		g.mu.Lock()
		defer g.mu.Unlock()
		g.total--
		decrement(g.perSession, p.key)
		decrement(g.perAddress, p.address)
		g.streams.Done()
	})
}

func decrement[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}
