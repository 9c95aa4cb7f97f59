package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"golang.org/x/term"

	"kondate/eventstore"
)

// exporter writes events in one format.
type exporter interface {
	write(e eventstore.Envelope) error
	// flush hands over what was written so far; a format that is only readable as a whole does nothing.
	flush() error
	// close ends the export.
	close() error
}

// The formats of an export.
const (
	formatNDJSON  = "ndjson"
	formatCSV     = "csv"
	formatParquet = "parquet"
)

func newExporter(format string, out io.Writer) exporter {
	switch format {
	case formatCSV:
		return &csvExporter{w: csv.NewWriter(out)}
	case formatParquet:
		return newParquetExporter(out)
	}
	return &ndjsonExporter{w: bufio.NewWriterSize(out, 64<<10)}
}

// ndjsonExporter writes a JSON object a line, as GET /v1/events does.
type ndjsonExporter struct {
	w    *bufio.Writer
	line []byte // reused
}

func (x *ndjsonExporter) write(e eventstore.Envelope) error {
	x.line = append(e.Append(x.line[:0]), '\n')
	_, err := x.w.Write(x.line)
	return err
}

func (x *ndjsonExporter) flush() error { return x.w.Flush() }
func (x *ndjsonExporter) close() error { return x.w.Flush() }

// csvExporter writes RFC 4180 with a header line. No cell begins with what a spreadsheet takes for a formula: they are
// numbers, ids, times and JSON objects.
type csvExporter struct {
	w     *csv.Writer
	began bool
}

func (x *csvExporter) write(e eventstore.Envelope) error {
	if !x.began {
		x.began = true
		if err := x.w.Write([]string{"seq", "id", "type", "time", "tenant", "session_id", "data"}); err != nil {
			return err
		}
	}
	return x.w.Write([]string{
		strconv.FormatUint(e.Seq, 10), e.ID, string(e.Type), eventstore.FormatTime(e.Time), string(e.Key.Tenant), string(e.Key.Session), string(e.Body()),
	})
}

func (x *csvExporter) flush() error { x.w.Flush(); return x.w.Error() }
func (x *csvExporter) close() error { return x.flush() }

// parquetRow is the schema of a Parquet export.
type parquetRow struct {
	Seq       int64     `parquet:"seq,delta"`
	ID        string    `parquet:"id"`
	Type      string    `parquet:"type,dict"`
	Time      time.Time `parquet:"time,timestamp(microsecond)"`
	Tenant    string    `parquet:"tenant,dict"`
	SessionID string    `parquet:"session_id,dict"`
	Data      string    `parquet:"data,json"`
}

const (
	// A row group of a Parquet export has at most so many events and bytes of data: what the writer holds in memory.
	groupEvents = 50_000
	groupBytes  = 32 << 20
)

// parquetExporter writes Parquet, row group by row group.
type parquetExporter struct {
	w      *parquet.GenericWriter[parquetRow]
	row    [1]parquetRow // reused
	events int           // in the row group
	bytes  int
}

func newParquetExporter(out io.Writer) *parquetExporter {
	return &parquetExporter{w: parquet.NewGenericWriter[parquetRow](
		out, parquet.Compression(&zstd.Codec{}),
		parquet.SkipPageBounds("data"), // the smallest and the largest body of each page say nothing, and stay in memory to the end
		parquet.CreatedBy("kondate", "", ""),
	)}
}

func (x *parquetExporter) write(e eventstore.Envelope) error {
	x.row[0] = parquetRow{
		Seq: int64(e.Seq), //nolint:gosec // sequences stay below 2^63
		ID:  e.ID, Type: string(e.Type), Time: e.Time.UTC(), Tenant: string(e.Key.Tenant), SessionID: string(e.Key.Session), Data: string(e.Body()),
	}
	if _, err := x.w.Write(x.row[:]); err != nil {
		return err
	}
	x.events++
	if x.bytes += len(x.row[0].Data); x.events < groupEvents && x.bytes < groupBytes {
		return nil
	}
	x.events, x.bytes = 0, 0
	return x.w.Flush()
}

func (x *parquetExporter) flush() error { return nil }
func (x *parquetExporter) close() error { return x.w.Close() }

// destination is where an export goes. A file is there whole or not at all.
type destination struct {
	out  io.Writer
	file *os.File // nil: standard output
	name string
}

func openDestination(name, format string, stdout io.Writer) (*destination, error) {
	if name == "" || name == "-" {
		if file, ok := stdout.(*os.File); ok && format == formatParquet && term.IsTerminal(int(file.Fd())) {
			return nil, errors.New("a Parquet file is nothing for a terminal: name a file with --output")
		}
		return &destination{out: stdout}, nil
	}
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return nil, fmt.Errorf("make the file of the export: %w", err)
	}
	return &destination{out: file, file: file, name: name}, nil
}

// keep makes the export's file the one that was asked for.
func (d *destination) keep() error {
	if d.file == nil {
		return nil
	}
	err := errors.Join(d.file.Sync(), d.file.Close())
	if err == nil {
		err = os.Rename(d.file.Name(), d.name)
	}
	if err != nil {
		return fmt.Errorf("write the export to %s: %w", d.name, err)
	}
	d.file = nil
	return nil
}

// drop forgets an export that was not kept.
func (d *destination) drop() {
	if d.file != nil {
		_ = d.file.Close() // it is thrown away
		_ = os.Remove(d.file.Name())
	}
}
