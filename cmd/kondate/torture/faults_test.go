//go:build linux

package torture_test

import (
	"context"
	"time"
)

// The ways to break a process. Each is undone by mend.
const (
	faultKill    = "kill"  // kill -9
	faultStop    = "stop"  // SIGTERM, as a deploy does
	faultPause   = "pause" // SIGSTOP: it stands still and its connections stay open
	faultCut     = "cut"   // its connections are closed and none is taken
	faultHole    = "hole"  // what it sends and is sent is swallowed
	faultSlow    = "slow"  // its links are slow
	slowBy       = 150 * time.Millisecond
	stopPatience = 30 * time.Second
)

// target is a process with every link that leads from it or to it.
type target struct {
	*process

	links []*link
}

// target returns the process of a name, or the link between two.
func (f *fleet) target(name string) target {
	for _, m := range f.members() {
		for _, l := range append([]*link{m.toRows}, m.toNATS...) {
			if l.name == name {
				return target{links: []*link{l}}
			}
		}
		if m.name == name {
			return target{m.process, append(append([]*link{}, m.toNATS...), m.toRows)}
		}
	}
	t := target{process: f.db.process}
	for _, m := range f.members() {
		t.links = append(t.links, m.toRows)
	}
	for i, b := range f.brokers {
		if b.name != name {
			continue
		}
		t = target{process: b.process}
		for _, m := range f.members() {
			t.links = append(t.links, m.toNATS[i])
		}
		for j, other := range f.brokers {
			if j != i {
				t.links = append(t.links, b.routeTo(i, j), other.routeTo(j, i))
			}
		}
	}
	return t
}

// routeTo is the link from the broker i to the broker j: its own place is left out of its list.
func (b *broker) routeTo(i, j int) *link {
	if j > i {
		j--
	}
	return b.routes[j]
}

// harm breaks a target.
func (t target) harm(ctx context.Context, kind string) error {
	switch kind {
	case faultKill:
		t.kill()
	case faultStop:
		ctx, cancel := context.WithTimeout(ctx, stopPatience)
		defer cancel()
		return t.stop(ctx)
	case faultPause:
		t.pause()
	default:
		for _, l := range t.links {
			switch kind {
			case faultCut:
				l.cut()
			case faultHole:
				l.hole()
			case faultSlow:
				l.slow(slowBy)
			}
		}
	}
	return nil
}

// mend undoes what harm did, and waits until the process takes work.
func (t target) mend(ctx context.Context, kind string) error {
	switch kind {
	case faultPause:
		t.resume()
	case faultCut, faultHole, faultSlow:
		if err := healAll(t.links); err != nil {
			return err
		}
	}
	if t.process == nil {
		return nil
	}
	return t.restart(ctx)
}
