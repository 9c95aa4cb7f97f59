package main

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"kondate/domain/cuisine"
	"kondate/domain/menu"
	"kondate/handlers/stage"
	"kondate/handlers/stage/local"
)

// kitchen answers as the local provider does, and lets a test decide when, and whether at all.
type kitchen struct {
	stage.Provider
	stage  menu.Stage
	gate   chan struct{} // a dish with 待 in its name has no taste before this is closed
	mended *atomic.Bool  // a dish with 壊 in its name has no diet before this is true
}

func (k kitchen) Answer(ctx context.Context, r stage.Request) (menu.Result, error) {
	if k.stage == menu.Task8 && strings.Contains(r.Item.Name, "待") {
		select {
		case <-k.gate:
		case <-ctx.Done():
			return menu.Result{}, ctx.Err()
		}
	}
	if k.stage == menu.Task6 && strings.Contains(r.Item.Name, "壊") && !k.mended.Load() {
		return menu.Result{}, &stage.Error{Reason: "refused", Permanent: true}
	}
	return k.Provider.Answer(ctx, r)
}

// The page, in a real browser, on the whole system.
func TestPage(t *testing.T) {
	t.Parallel()
	knowledge, err := cuisine.Load()
	if err != nil {
		t.Fatal(err)
	}
	gate, mended := make(chan struct{}), new(atomic.Bool)
	providers := map[menu.Stage]stage.Provider{}
	for _, s := range menu.Stages() {
		providers[s] = kitchen{local.New(knowledge, s), s, gate, mended}
	}
	s := startSystem(t, providers, "--sse-reconnect-interval", "1s")
	browser := startBrowser(t)
	base := s.running.HTTPURL
	t.Run("Screenshots", func(t *testing.T) { t.Parallel(); testScreenshots(t, browser, base) })
}
