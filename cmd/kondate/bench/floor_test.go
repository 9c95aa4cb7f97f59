package bench_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"kondate/cmd/kondate/bench"
	"kondate/domain/menu"
	"kondate/projections/pgtest"
	"kondate/streams"
)

// A floor without one of its consumers says so instead of waiting for answers.
func TestFloorEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f, err := bench.StartFloor(ctx, bench.Settings{Dir: pgtest.Dir(t), Logger: slog.New(slog.DiscardHandler)}, "100ms")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Run(ctx, 1); err != nil {
		t.Errorf("a whole floor: %v", err)
	}
	if err := f.JetStream().DeleteConsumer(ctx, streams.EventStream, streams.StageConsumer(menu.Allergen)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Run(ctx, 1); err == nil || !strings.Contains(err.Error(), "the floor's consumers ended") {
		t.Errorf("a floor without a consumer: %v", err)
	}
	if err := f.Close(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the end of it: %v", err)
	}
}
