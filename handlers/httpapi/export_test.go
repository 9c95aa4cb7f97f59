package httpapi

import (
	"context"
	"time"

	"kondate/domain/menu"
)

// Decoded is what the fuzz test sees of a decoded body.
type Decoded struct {
	Title, Source, Target string
	Items                 []menu.Item
}

// Decode is decodeSubmission.
func Decode(body []byte) (Decoded, error) {
	s, err := decodeSubmission(body)
	return Decoded{s.title, s.sourceLanguage, s.targetLanguage, s.items}, err
}

// MaxClients is maxClients.
const MaxClients = maxClients

// Limiter is a limiter.
type Limiter struct{ l *limiter }

// NewLimiter is newLimiter.
func NewLimiter(perSecond float64, burst int) Limiter {
	return Limiter{newLimiter(perSecond, burst, time.Now)}
}

// Take is take.
func (l Limiter) Take(client string) time.Duration { return l.l.take(client) }

// Clients says how many clients are remembered.
func (l Limiter) Clients() int {
	l.l.mu.Lock()
	defer l.l.mu.Unlock()
	return len(l.l.clients)
}

// Lately is lately.
func (p *Probes) Lately(ctx context.Context) { p.lately(ctx) }

// Look returns what each check says, without the server whose goroutines know no fake time.
func (p *Probes) Look(ctx context.Context) []error {
	var errs []error
	for _, l := range p.look(ctx) {
		errs = append(errs, l.err)
	}
	return errs
}
