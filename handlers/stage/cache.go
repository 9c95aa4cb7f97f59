package stage

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"kondate/domain/menu"
)

// Cache keeps results of providers that cost something.
type Cache interface {
	// Lookup returns the result that was stored under a key, and when; false if there is none.
	Lookup(ctx context.Context, key []byte) (result menu.Result, stored time.Time, found bool, err error)
	// Store keeps a result. It belongs to the session that it was made for: an erasure of the session removes it.
	Store(ctx context.Context, session menu.Key, key []byte, result menu.Result) error
}

// cacheTimeout bounds a look into the cache: asking the provider is better than waiting for it.
const cacheTimeout = 2 * time.Second

// remembered returns the stored result of a dish that was asked for before, marked with its age.
func (s *stage) remembered(ctx context.Context, r Request) (menu.Result, bool) {
	if !s.cached {
		return menu.Result{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	result, stored, found, err := s.cfg.Cache.Lookup(ctx, s.cacheKey(r))
	if err != nil {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "the result cache cannot be read, the provider is asked", slog.Any("error", err))
		return menu.Result{}, false
	}
	if !found || fit(s.stage, result) != nil {
		return menu.Result{}, false
	}
	stored = stored.UTC().Truncate(time.Microsecond)
	result.CachedAt, result.ElapsedMS = &stored, 0
	s.stats.cached.Inc()
	return result, true
}

// remember stores a result. One that says less than the dish deserves is not kept: the next attempt may know more.
func (s *stage) remember(ctx context.Context, r Request, result menu.Result) {
	if !s.cached || result.Status != menu.StatusOK || fit(s.stage, result) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	if err := s.cfg.Cache.Store(ctx, r.Key, s.cacheKey(r), result); err != nil {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "a result was not kept in the cache", slog.Any("error", err))
	}
}

// cacheKey is what two requests have in common that get the same answer. Tenants share nothing.
func (s *stage) cacheKey(r Request) []byte {
	raw, err := json.Marshal([]string{
		string(r.Key.Tenant), s.stage.String(), s.provider.Name(), s.provider.Version(),
		normal(r.Item.Name), normal(r.Item.Category), r.SourceLanguage, r.TargetLanguage,
	})
	if err != nil {
		return nil // strings always encode
	}
	sum := sha256.Sum256(raw)
	return sum[:]
}

// normal removes what two printings of the same words may differ in: width of characters, case, space.
func normal(text string) string {
	return strings.ToLower(strings.Join(strings.Fields(norm.NFKC.String(text)), " "))
}
