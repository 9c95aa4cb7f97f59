package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"

	"kondate/projections/postgres"
)

func ExampleStart() {
	dishes, err := count(context.Background())
	_, _ = fmt.Fprintln(os.Stdout, dishes, err)
	// Output: 3 <nil>
}

func count(ctx context.Context) (n int, err error) {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil { // the server of a root caller is another user's
		return 0, err
	}

	server, err := postgres.Start(ctx, postgres.Config{Dir: dir})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.Stop(ctx)) }()

	conn, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	err = conn.QueryRow(ctx, "select count(*) from (values ('udon'), ('soba'), ('ramen')) dishes").Scan(&n)
	return n, err
}
