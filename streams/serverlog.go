package streams

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// serverLog bridges the server's log to slog. The server's notices are detail for us.
type serverLog struct {
	write func(level slog.Level, text string)

	mu    sync.Mutex // guards first
	first error      // first fatal error: only here the server says why it cannot start
}

func newServerLog(ctx context.Context, log *slog.Logger) *serverLog {
	ctx = context.WithoutCancel(ctx) // the server outlives its start
	return &serverLog{write: func(level slog.Level, text string) {
		log.LogAttrs(ctx, level, "the embedded NATS says", slog.String("text", text))
	}}
}

// fatal returns what kept the server from starting.
func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// Fatalf does not end the process, as the server's own loggers do: the server goes on without the part that failed.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.write(slog.LevelError, text)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = errors.New(text)
	}
}

func (l *serverLog) Noticef(format string, v ...any) {
	l.write(slog.LevelDebug, fmt.Sprintf(format, v...))
}

func (l *serverLog) Warnf(format string, v ...any) {
	l.write(slog.LevelWarn, fmt.Sprintf(format, v...))
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.write(slog.LevelError, fmt.Sprintf(format, v...))
}

// Debugf and Tracef are never called: the server was told that they are off.
func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}
