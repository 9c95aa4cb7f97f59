package streams

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// serverLog bridges the server's log to slog. The server's notices are detail for us.
type serverLog struct {
	log *slog.Logger

	mu   sync.Mutex // guards last
	last string     // newest error; the server reports why it cannot start only here
}

func (l *serverLog) write(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, fmt.Sprintf(format, v...), "component", "nats-server") //nolint:forbidigo,sloglint // the server's logger has no context and formats its messages
}

func (l *serverLog) fail(format string, v []any) {
	l.mu.Lock()
	l.last = fmt.Sprintf(format, v...)
	l.mu.Unlock()
	l.write(slog.LevelError, format, v)
}

func (l *serverLog) lastError() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == "" {
		return "it did not become ready"
	}
	return l.last
}

func (l *serverLog) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.write(slog.LevelWarn, format, v) }
func (l *serverLog) Fatalf(format string, v ...any)  { l.fail(format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.fail(format, v) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {}
