package projections

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
)

// sessionRecord is a row of sessions: the session without its dishes.
type sessionRecord struct {
	menu.Session

	correlation string // of the session's first event
	lastID      string // of the event LastSeq
	trace       string // W3C traceparent of what comes of a page; no column
}

// dishRecord is what a fold needs of a row of menus. The results' data stay where they are.
type dishRecord struct {
	menu.Dish

	tenant  menu.Tenant
	session menu.SessionID
}

func scanSession(row pgx.CollectableRow) (sessionRecord, error) {
	var (
		r                  sessionRecord
		stages             []byte
		created, completed *time.Time
		menuSeq, lastSeq   int64
	)
	s := &r.Session
	err := row.Scan(&s.Key.Tenant, &s.Key.Session, &s.Title, &s.SourceLanguage, &s.TargetLanguage, &s.Status, &s.ItemCount, &s.Loaded,
		&s.Completed, &s.Failed, &stages, &s.Round, &s.OpenRetries, &s.OpenImages, &created, &s.UpdatedAt, &completed,
		&menuSeq, &lastSeq, &r.correlation, &r.lastID)
	if err != nil {
		return r, fmt.Errorf("read a row of sessions: %w", err)
	}
	if s.Stages, err = decodeStages[menu.Tally](stages); err != nil {
		return r, fmt.Errorf("read the stages of session %s: %w", s.Key, err)
	}
	s.CreatedAt, s.UpdatedAt, s.CompletedAt = utc(created), s.UpdatedAt.UTC(), utc(completed)
	s.MenuSeq, s.LastSeq = fromBigint(menuSeq), fromBigint(lastSeq)
	return r, nil
}

func scanDish(row pgx.CollectableRow) (dishRecord, error) {
	var (
		r       dishRecord
		stages  []byte
		lastSeq int64
	)
	d := &r.Dish
	err := row.Scan(&r.tenant, &d.ID, &r.session, &d.Position, &stages, &d.Image.URL, &d.Image.Epoch, &d.Image.Open,
		&d.CreatedAt, &d.UpdatedAt, &lastSeq)
	if err != nil {
		return r, fmt.Errorf("read a row of menus: %w", err)
	}
	if d.Stages, err = decodeStages[menu.StageState](stages); err != nil {
		return r, fmt.Errorf("read the stages of dish %s: %w", d.ID, err)
	}
	d.CreatedAt, d.UpdatedAt, d.LastSeq = d.CreatedAt.UTC(), d.UpdatedAt.UTC(), fromBigint(lastSeq)
	return r, nil
}

// encodeStages returns {"<stage>": value, …} with all eight stages.
func encodeStages[T any](values [menu.StageCount]T) ([]byte, error) {
	const typical = 1 << 10 // bytes of eight answered stages
	out := append(make([]byte, 0, typical), '{')
	for i, stage := range menu.Stages() {
		if i > 0 {
			out = append(out, ',')
		}
		value, err := json.Marshal(values[i])
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", stage, err)
		}
		out = append(out, '"')
		out = append(out, stage.String()...)
		out = append(out, `":`...)
		out = append(out, value...)
	}
	return append(out, '}'), nil
}

func decodeStages[T any](data []byte) ([menu.StageCount]T, error) {
	var (
		named  map[menu.Stage]T
		values [menu.StageCount]T
	)
	if err := json.Unmarshal(data, &named); err != nil {
		return values, err
	}
	for stage, value := range named {
		values[stage] = value
	}
	return values, nil
}

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// orNull makes null of the zero time.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Sequences of a stream stay far below 2^63; one that a client makes up may not.
func toBigint(seq uint64) int64   { return int64(min(seq, math.MaxInt64)) }
func fromBigint(seq int64) uint64 { return uint64(seq) } //nolint:gosec // see above
