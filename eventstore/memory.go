package eventstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"kondate/domain/menu"
)

// Memory is a store for the tests of other packages: it gives the answers of [JetStream], without a broker and without
// durability. The zero value is not usable; see [NewMemory].
type Memory struct {
	maxEventSize int

	mu      sync.Mutex // guards the fields below
	entries []Entry    // entry i has sequence i+1, or none if it was erased
	ids     map[string]uint64
	grown   chan struct{} // closed and replaced when an entry is added
}

// NewMemory returns an empty log that refuses event bodies above maxEventSize bytes (0: no limit).
func NewMemory(maxEventSize int) *Memory {
	return &Memory{maxEventSize: maxEventSize, ids: map[string]uint64{}, grown: make(chan struct{})}
}

// Append is [JetStream.Append].
func (m *Memory) Append(ctx context.Context, key menu.Key, events ...Proposed) (Receipt, error) {
	return m.append(ctx, key, nil, events)
}

// AppendMenu is [JetStream.AppendMenu].
func (m *Memory) AppendMenu(ctx context.Context, key menu.Key, expected uint64, events ...Proposed) (Receipt, error) {
	return m.append(ctx, key, &expected, events)
}

func (m *Memory) append(ctx context.Context, key menu.Key, expected *uint64, events []Proposed) (Receipt, error) {
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	msgs, ids, err := encodeAll(ctx, key, expected != nil, m.maxEventSize, events)
	if err != nil || len(msgs) == 0 {
		return Receipt{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	receipt := Receipt{IDs: ids, Already: true}
	for _, id := range ids {
		seq, known := m.ids[id]
		receipt.Already = receipt.Already && known
		receipt.Seq = max(receipt.Seq, seq)
	}
	if receipt.Already {
		return receipt, nil
	}
	if expected != nil {
		if actual := m.last(key, menu.LaneMenu); actual != *expected {
			return Receipt{}, &ConflictError{Key: key, Expected: *expected, Actual: actual}
		}
	}
	for _, msg := range msgs {
		receipt.Seq = m.add(msg)
	}
	return receipt, nil
}

// Erase is [JetStream.Erase].
func (m *Memory) Erase(ctx context.Context, key menu.Key, tombstone, through uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range m.entries {
		if e.Key == key && e.Seq != tombstone && e.Seq <= through {
			m.entries[i] = Entry{}
		}
	}
	return ctx.Err()
}

// Inject puts a message into the log as somebody else may: nothing of it is checked.
func (m *Memory) Inject(msg *nats.Msg) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.add(msg)
}

func (m *Memory) add(msg *nats.Msg) uint64 {
	seq := uint64(len(m.entries)) + 1
	m.entries = append(m.entries, Decode(msg.Subject, seq, time.Now(), msg.Header, msg.Data))
	if id := first(msg.Header, HeaderID); id != "" {
		m.ids[id] = seq
	}
	close(m.grown)
	m.grown = make(chan struct{})
	return seq
}

func (m *Memory) last(key menu.Key, lane menu.Lane) uint64 {
	for _, e := range slices.Backward(m.entries) {
		if e.Key == key && (lane == "" || e.Type.Lane() == lane) {
			return e.Seq
		}
	}
	return 0
}

// Load is [JetStream.Load].
func (m *Memory) Load(ctx context.Context, key menu.Key) ([]Entry, error) {
	return m.LoadLane(ctx, key, "", 0)
}

// LoadPage is [JetStream.LoadPage].
func (m *Memory) LoadPage(ctx context.Context, key menu.Key, after uint64, limit int) ([]Entry, error) {
	entries, err := m.LoadLane(ctx, key, "", after)
	return entries[:min(limit, len(entries))], err
}

// Read is [JetStream.Read].
func (m *Memory) Read(ctx context.Context, after uint64, limit int) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries := present(m.entries[min(after, uint64(len(m.entries))):])
	return entries[:min(limit, len(entries))], ctx.Err()
}

// present returns a copy of entries without those that were erased.
func present(entries []Entry) []Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Seq == 0 })
}

// LoadLane is [JetStream.LoadLane].
func (m *Memory) LoadLane(ctx context.Context, key menu.Key, lane menu.Lane, after uint64) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []Entry
	for _, e := range m.entries {
		if e.Seq > after && e.Key == key && (lane == "" || e.Type.Lane() == lane) {
			found = append(found, e)
		}
	}
	return found, nil
}

// LastOf is [JetStream.LastOf].
func (m *Memory) LastOf(ctx context.Context, key menu.Key) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last(key, ""), ctx.Err()
}

// Last is [JetStream.Last].
func (m *Memory) Last(ctx context.Context) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.entries)), ctx.Err()
}

// Follow is [JetStream.Follow].
func (m *Memory) Follow(ctx context.Context, after uint64, fn func(context.Context, []Entry) error) error {
	for {
		m.mu.Lock()
		if after > uint64(len(m.entries)) {
			m.mu.Unlock()
			return ErrOtherLog
		}
		page, grown := present(m.entries[after:]), m.grown
		m.mu.Unlock()
		page = page[:min(len(page), MaxPage)]
		if len(page) > 0 {
			if err := fn(ctx, page); err != nil {
				return err
			}
			after = page[len(page)-1].Seq
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
