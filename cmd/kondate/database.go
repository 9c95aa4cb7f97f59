package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/tracelog"
)

// poolConfig turns the group database into a pool's settings.
func (c DatabaseConfig) poolConfig(url string, log *slog.Logger) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database.url: %w", err)
	}
	cfg.MaxConns = int32(c.PoolSize + c.MaxOverflow) //nolint:gosec // validated to be small and positive
	cfg.MinIdleConns = 1
	cfg.MaxConnLifetime = c.PoolRecycle
	// A server that takes a connection and says nothing must hold nobody up for longer, an orderly stop least of all.
	if limit := cfg.ConnConfig.ConnectTimeout; limit == 0 || limit > c.PoolTimeout {
		cfg.ConnConfig.ConnectTimeout = c.PoolTimeout
	}
	if c.EchoSQL {
		cfg.ConnConfig.Tracer = &tracelog.TraceLog{
			LogLevel: tracelog.LogLevelInfo,
			Logger: tracelog.LoggerFunc(func(ctx context.Context, _ tracelog.LogLevel, msg string, data map[string]any) {
				log.InfoContext(ctx, "sql "+msg, "data", data) //nolint:sloglint // the message is pgx's
			}),
		}
	}
	return cfg, nil
}
