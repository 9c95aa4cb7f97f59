package projections

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kondate/domain/menu"
	"kondate/eventstore"
)

// Time is a time of a row. Its JSON is that of events: RFC 3339, UTC, microseconds.
type Time struct{ time.Time }

// MarshalJSON returns the time as a JSON string.
func (t Time) MarshalJSON() ([]byte, error) { return json.Marshal(eventstore.FormatTime(t.Time)) }

// MenuRow is one dish with everything that its stages have answered. Its JSON is what HTTP answers with.
type MenuRow struct {
	Tenant              menu.Tenant           `json:"tenant"`
	ID                  menu.DishID           `json:"id"`
	SessionID           menu.SessionID        `json:"session_id"`
	Position            int                   `json:"position"` // 0-based place on the menu
	Name                string                `json:"name"`
	Translation         *string               `json:"translation"`
	Category            *string               `json:"category"`
	CategoryTranslation *string               `json:"category_translation"`
	Price               *string               `json:"price"`
	Description         *string               `json:"description"`
	Allergy             json.RawMessage       `json:"allergy"` // as the other raw columns: the data of the stage's result, or null
	Ingredient          json.RawMessage       `json:"ingredient"`
	SearchEngine        json.RawMessage       `json:"search_engine"`
	GenImage            *string               `json:"gen_image"` // URL of the newest generated picture
	Task6Data           json.RawMessage       `json:"task6_data"`
	Task7Data           json.RawMessage       `json:"task7_data"`
	Task8Data           json.RawMessage       `json:"task8_data"`
	ProcessingStatus    menu.ProcessingStatus `json:"processing_status"`
	Stages              json.RawMessage       `json:"stages"` // {"<stage>": menu.StageState, …}, all eight
	CreatedAt           Time                  `json:"created_at"`
	UpdatedAt           Time                  `json:"updated_at"`
	LastSeq             uint64                `json:"last_seq"` // the event that changed the dish last
}

// menuColumns are read by scanMenu.
const menuColumns = `m.tenant, m.id, m.session_id, m.position, m.name, m.translation, m.category, m.category_translation, m.price,
  m.description, m.allergy, m.ingredient, m.search_engine, m.gen_image, m.task6_data, m.task7_data, m.task8_data,
  m.processing_status, m.stages, m.created_at, m.updated_at, m.last_seq`

// StageStates reads the column stages.
func (r MenuRow) StageStates() ([menu.StageCount]menu.StageState, error) {
	states, err := decodeStages[menu.StageState](r.Stages)
	if err != nil {
		return states, fmt.Errorf("read the stages of dish %s: %w", r.ID, err)
	}
	return states, nil
}

// scanMenu reads menuColumns, after other columns into first.
func scanMenu(row pgx.CollectableRow, first ...any) (MenuRow, error) {
	var (
		r       MenuRow
		lastSeq int64
	)
	err := row.Scan(append(first, &r.Tenant, &r.ID, &r.SessionID, &r.Position, &r.Name, &r.Translation, &r.Category, &r.CategoryTranslation, &r.Price,
		&r.Description, (*[]byte)(&r.Allergy), (*[]byte)(&r.Ingredient), (*[]byte)(&r.SearchEngine), &r.GenImage,
		(*[]byte)(&r.Task6Data), (*[]byte)(&r.Task7Data), (*[]byte)(&r.Task8Data),
		&r.ProcessingStatus, (*[]byte)(&r.Stages), &r.CreatedAt.Time, &r.UpdatedAt.Time, &lastSeq)...)
	r.LastSeq = fromBigint(lastSeq)
	return r, err
}

// SessionRow is one submitted menu and its progress. Its JSON is what HTTP answers with.
type SessionRow struct {
	SessionID   menu.SessionID            `json:"session_id"`
	Tenant      menu.Tenant               `json:"tenant"`
	Title       string                    `json:"title"`
	Status      menu.SessionStatus        `json:"status"`
	Items       int                       `json:"items"`
	Completed   int                       `json:"completed"`  // dishes with eight results
	Failed      int                       `json:"failed"`     // dishes that ended with a parked stage
	Stages      map[menu.Stage]menu.Tally `json:"stages"`     // all eight
	CreatedAt   *Time                     `json:"created_at"` // null: erased, or not submitted yet
	CompletedAt *Time                     `json:"completed_at"`
	LastSeq     uint64                    `json:"last_seq"` // the session's last event

	Closed   bool      `json:"-"` // no event follows unless somebody asks for one
	LastTime time.Time `json:"-"` // of the event LastSeq
}

func newSessionRow(s menu.Session) SessionRow {
	r := SessionRow{
		SessionID: s.Key.Session, Tenant: s.Key.Tenant, Title: s.Title, Status: s.Status,
		Items: s.ItemCount, Completed: s.Completed, Failed: s.Failed, Stages: make(map[menu.Stage]menu.Tally, menu.StageCount),
		LastSeq: s.LastSeq, Closed: s.Closed(), LastTime: s.UpdatedAt,
	}
	for _, stage := range menu.Stages() {
		r.Stages[stage] = s.Stages[stage]
	}
	if !s.CreatedAt.IsZero() {
		r.CreatedAt = &Time{s.CreatedAt}
	}
	if !s.CompletedAt.IsZero() {
		r.CompletedAt = &Time{s.CompletedAt}
	}
	return r
}

// HistoryRow is one message of the log as history keeps it.
type HistoryRow struct {
	Seq     uint64
	ID      string
	Key     menu.Key // zero if the message's subject names no session
	Type    menu.Type
	Version int // of the event's schema
	Time    time.Time
	Headers json.RawMessage // the message's headers; see Header
	Body    []byte          // as recorded, byte for byte
	Data    json.RawMessage // the body; nil if it is no JSON
	Err     string          // why projections pass the event over, empty for an event
}

// Header reads the message's headers. Few need them, and reading costs more than all the rest of a row.
func (r HistoryRow) Header() (map[string][]string, error) {
	var h map[string][]string
	if err := json.Unmarshal(r.Headers, &h); err != nil {
		return nil, fmt.Errorf("read the headers of event %d: %w", r.Seq, err)
	}
	return h, nil
}

const historyColumns = `seq, id, tenant, session_id, type, version, time, headers, data, raw, coalesce(error, '')`

func scanHistory(row pgx.CollectableRow) (HistoryRow, error) {
	var (
		r   HistoryRow
		seq int64
		raw []byte
	)
	err := row.Scan(&seq, &r.ID, &r.Key.Tenant, &r.Key.Session, &r.Type, &r.Version, &r.Time, (*[]byte)(&r.Headers), (*[]byte)(&r.Data), &raw, &r.Err)
	r.Seq, r.Time = fromBigint(seq), r.Time.UTC()
	if raw != nil {
		if r.Data = raw; !json.Valid(raw) {
			r.Data = nil
		}
		r.Body = raw
	} else {
		r.Body = r.Data
	}
	return r, err
}
