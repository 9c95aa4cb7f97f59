package httpapi

import (
	"container/list"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"golang.org/x/time/rate"
)

// maxClients bounds how many clients the limiter remembers; the one that asked least recently is forgotten first.
const maxClients = 10_000

// limiter counts the requests of each client. It is safe for concurrent use.
type limiter struct {
	limit rate.Limit
	burst int
	now   func() time.Time

	mu      sync.Mutex // guards the fields below
	clients map[string]*list.Element
	order   *list.List // of *bucket; who asked last comes first
}

type bucket struct {
	client string
	tokens *rate.Limiter
}

func newLimiter(perSecond float64, burst int, now func() time.Time) *limiter {
	return &limiter{limit: rate.Limit(perSecond), burst: burst, now: now, clients: map[string]*list.Element{}, order: list.New()}
}

// take counts one request and returns how long its client has to wait: 0 if it may go on.
func (l *limiter) take(client string) time.Duration {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	element := l.clients[client]
	if element == nil {
		element = l.order.PushFront(&bucket{client, rate.NewLimiter(l.limit, l.burst)})
		l.clients[client] = element
		if l.order.Len() > maxClients {
			oldest, _ := l.order.Remove(l.order.Back()).(*bucket)
			delete(l.clients, oldest.client)
		}
	}
	l.order.MoveToFront(element)
	b, _ := element.Value.(*bucket)
	reservation := b.tokens.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now) // a request that is refused does not count
	}
	return wait
}

// limited refuses a client that asks too often. Probes are not counted: they come from whoever keeps the process alive.
// A stream counts once, when it is opened.
func (a *API) limited(c *fiber.Ctx) error {
	if path := c.Path(); path == pathHealth || path == pathReady {
		return c.Next()
	}
	if wait := a.limit.take(a.client(c)); wait > 0 {
		p := newProblem(http.StatusTooManyRequests, "too-many-requests", "Too many requests",
			fmt.Sprintf("one client may send %g requests a second, and %d at once: wait and try again", a.cfg.RateLimit, a.cfg.RateBurst))
		p.after = wait
		return p
	}
	return c.Next()
}

// client names who asks: by credential, else by address. The prefix keeps the two apart.
func (a *API) client(c *fiber.Ctx) string {
	if a.cfg.Client != nil {
		if name := a.cfg.Client(c); name != "" {
			return "credential " + strings.Clone(name)
		}
	}
	return "address " + utils.CopyString(c.IP())
}
