package eventstore

import (
	"context"
	"fmt"

	"kondate/domain/menu"
)

// Erase removes every event of a session up to a sequence but its tombstone, and overwrites them where they lie on the disk:
// a purge would leave their bytes in the block files until the broker rewrites those. Erasing again is no failure.
func (s *JetStream) Erase(ctx context.Context, key menu.Key, tombstone, through uint64) error {
	for at := uint64(0); ; {
		entries, err := s.LoadPage(ctx, key, at, loadBatch)
		if err != nil {
			return fmt.Errorf("erase session %s: %w", key, err)
		}
		for _, e := range entries {
			if at = e.Seq; at == tombstone {
				continue
			}
			if at > through {
				return nil
			}
			if err := s.deleteMessage(ctx, at, true); err != nil {
				return fmt.Errorf("erase event %d of session %s: %w", at, key, err)
			}
		}
		if len(entries) < loadBatch {
			return nil
		}
	}
}
