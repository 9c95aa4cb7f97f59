package torture_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// eventStream is the log.
const eventStream = "MENU_EVENTS"

// foreignHeader marks what the harness publishes into the log past the program: poison, and copies of recorded events.
// Its value says what it is.
const foreignHeader = "Torture-Foreign"

// sources are where the checker looks, and what it has to know of the campaign.
type sources struct {
	JetStream jetstream.JetStream
	Postgres  *pgxpool.Pool
	HTTP      string // base URL of an API; empty: not asked
	Archives  string // folder of archives; empty: nothing was archived

	Foreign       []uint64        // sequences of messages that the harness published and that bear no foreignHeader
	Resets        map[string]bool // reasons of event: reset that the campaign explains; none by default
	RetryAttempts int             // processing.retry_attempts; 0: not checked
}

// evidence is everything that is held against each other.
type evidence struct {
	log        []logged // with what was archived
	history    []historyRow
	menus      []map[string]any
	sessions   []map[string]any
	checkpoint uint64            // the rows are as the log was here
	shown      map[string]string // sessions' status over HTTP

	foreign  map[uint64]bool
	resets   map[string]bool
	attempts int
}

// historyRow is a row of the table history.
type historyRow struct {
	Seq          uint64
	Tenant       string
	Session      string
	Type         string
	Version      int64
	Time         time.Time
	ID           string
	Headers      []byte
	Data, Raw    []byte
	ErrorMessage string
}

// collect reads everything. It wants quiet: whatever moves meanwhile shows as a difference.
func collect(ctx context.Context, l *ledger, s sources) (ev evidence, err error) {
	ev.foreign, ev.resets, ev.attempts = map[uint64]bool{}, s.Resets, s.RetryAttempts
	for _, seq := range s.Foreign {
		ev.foreign[seq] = true
	}
	if ev.log, err = readLog(ctx, s.JetStream); err != nil {
		return ev, fmt.Errorf("read the log: %w", err)
	}
	taken, err := ev.readTables(ctx, s.Postgres)
	if err != nil {
		return ev, fmt.Errorf("read the tables: %w", err)
	}
	if s.Archives != "" {
		if err := ev.withArchived(s.Archives, taken); err != nil {
			return ev, err
		}
	}
	ev.shown = map[string]string{}
	for _, id := range l.sessions() {
		if s.HTTP == "" {
			break
		}
		if ev.shown[id], err = shownStatus(ctx, s.HTTP+"/v1/sessions/"+id); err != nil {
			return ev, fmt.Errorf("ask for session %s: %w", id, err)
		}
	}
	return ev, nil
}

// readLog reads the whole log in order, and makes sure that it is the whole.
func readLog(ctx context.Context, js jetstream.JetStream) ([]logged, error) {
	stream, err := js.Stream(ctx, eventStream)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	var messages []logged
	for last := uint64(0); last < info.State.LastSeq; {
		m, found, err := nextMessage(ctx, js.Conn(), last+1)
		if err != nil {
			return nil, fmt.Errorf("after %d messages: %w", len(messages), err)
		}
		if !found {
			break
		}
		last = m.Seq
		messages = append(messages, m)
	}
	if n := uint64(len(messages)); n != info.State.Msgs {
		return nil, fmt.Errorf("%d messages were read of %d: the log is not quiet", n, info.State.Msgs)
	}
	return messages, nil
}

// nextMessage asks the leader for the first message from a sequence on. Where the client's own ways lead, a message with the
// header of a status passes for one, and what comes behind it is lost.
func nextMessage(ctx context.Context, nc *nats.Conn, from uint64) (m logged, found bool, err error) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+eventStream, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":">"}`, from))
	if err != nil {
		return m, false, err
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return m, false, err
	}
	if answer.Message == nil {
		if answer.Error != nil && answer.Error.ErrorCode != jetstream.JSErrCodeMessageNotFound {
			return m, false, answer.Error
		}
		return m, false, nil
	}
	header := nats.Header{}
	if len(answer.Message.Header) > 0 {
		if header, err = nats.DecodeHeadersMsg(answer.Message.Header); err != nil {
			return m, false, err
		}
	}
	return logged{answer.Message.Seq, answer.Message.Subject, answer.Message.Time, header, answer.Message.Data}, true, nil
}

// readTables reads what is in Postgres, and returns the sessions that were archived.
func (ev *evidence) readTables(ctx context.Context, pool *pgxpool.Pool) (archived map[key]bool, err error) {
	// One transaction, one snapshot: rows, history and checkpoint belong together.
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var err error
		if err = tx.QueryRow(ctx, `select coalesce(max(seq), 0) from public.progress`).Scan(&ev.checkpoint); err != nil {
			return err
		}
		if ev.menus, err = objects(ctx, tx, `select to_jsonb(m)::text from public.menus m`); err != nil {
			return err
		}
		if ev.sessions, err = objects(ctx, tx, `select to_jsonb(s)::text from public.sessions s`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select seq, tenant, session_id, type, version, time, id, headers::text, data::text, raw, coalesce(error, '')
from public.history order by seq`)
		if err != nil {
			return err
		}
		ev.history, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h historyRow, err error) {
			var headers string
			var data *string
			err = row.Scan(&h.Seq, &h.Tenant, &h.Session, &h.Type, &h.Version, &h.Time, &h.ID, &headers, &data, &h.Raw, &h.ErrorMessage)
			if h.Headers = []byte(headers); data != nil {
				h.Data = []byte(*data)
			}
			return h, err
		})
		if err != nil {
			return err
		}
		if rows, err = tx.Query(ctx, `select tenant, session_id from public.archived_sessions`); err != nil {
			return err
		}
		archived = map[key]bool{}
		var k key
		_, err = pgx.ForEachRow(rows, []any{&k.tenant, &k.session}, func() error {
			archived[k] = true
			return nil
		})
		return err
	})
	return archived, err
}

func objects(ctx context.Context, tx pgx.Tx, sql string) ([]map[string]any, error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (object map[string]any, err error) {
		var text string
		if err := row.Scan(&text); err != nil {
			return nil, err
		}
		err = json.Unmarshal([]byte(text), &object)
		return object, err
	})
}

func shownStatus(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	var body struct{ Status any }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return "", err
	}
	return fmt.Sprint(body.Status), nil
}

// quiet says what is still on its way: nil when the rows have the whole log, every session is closed, and what was erased or
// archived is out of the log.
func quiet(ctx context.Context, s sources) error {
	stream, err := s.JetStream.Stream(ctx, eventStream)
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return err
	}
	var seq uint64
	var due, running, leaving int
	const sql = `select (select coalesce(max(seq), 0) from public.progress), (select count(*) from public.erasures where purged < through),
  (select count(*) from public.archived_sessions where leaving),
  (select count(*) from public.sessions where done or status = 'processing' or status <> 'erased' and open_retries + open_images > 0)`
	if err := s.Postgres.QueryRow(ctx, sql).Scan(&seq, &due, &leaving, &running); err != nil {
		return err
	}
	if seq < info.State.LastSeq || due+leaving+running > 0 {
		return fmt.Errorf("the rows stand at event %d of %d, %d sessions are not closed, %d erased ones and %d archived ones are still in the log",
			seq, info.State.LastSeq, running, due, leaving)
	}
	return nil
}

// awaitQuiet returns when nothing is on its way any more, or says what is when ctx ends.
func awaitQuiet(ctx context.Context, s sources) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := quiet(ctx, s)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(errors.New("it does not become quiet"), err)
		}
	}
}
