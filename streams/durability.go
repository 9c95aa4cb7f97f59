package streams

import (
	"fmt"
	"time"
)

// SyncPolicy says when the embedded server calls an event stored: its acknowledgement comes after an fsync (always), or
// before one that follows within an interval.
type SyncPolicy struct {
	always   bool
	interval time.Duration // 0 with !always: the broker's default
}

// minSyncInterval is the shortest interval: syncing more often is dearer than always, and the server panics on one of a
// nanosecond.
const minSyncInterval = time.Millisecond

// ParseSync reads the setting nats.sync: "always", an interval such as "100ms" (1 ms at least), or "default" (the
// broker's own).
func ParseSync(s string) (SyncPolicy, error) {
	switch s {
	case "always":
		return SyncPolicy{always: true}, nil
	case "default":
		return SyncPolicy{}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < minSyncInterval {
		return SyncPolicy{}, fmt.Errorf("nats.sync %q is neither always, nor default, nor an interval of 1ms or more such as 100ms", s)
	}
	return SyncPolicy{interval: d}, nil
}

// String returns the setting.
func (p SyncPolicy) String() string {
	switch {
	case p.always:
		return "always"
	case p.interval == 0:
		return "default"
	}
	return p.interval.String()
}

// Durability says in a sentence which guarantee is in force: for the start-up line, the readiness probe and the doctor.
func Durability(replicas int, sync SyncPolicy) string {
	copies := "one copy"
	if replicas > 1 {
		copies = fmt.Sprintf("%d copies", replicas)
	}
	switch {
	case sync.always:
		return copies + " of the log, fsynced before an event is acknowledged: an acknowledged event survives a power cut"
	case sync.interval == 0:
		return copies + " of the log, fsynced at the broker's default interval (2 minutes): acknowledged events survive a crash of the process, a power cut can lose the last ones"
	}
	return fmt.Sprintf("%s of the log, fsynced every %s: acknowledged events survive a crash of the process, a power cut can lose those of the last %s", copies, sync.interval, sync.interval)
}
