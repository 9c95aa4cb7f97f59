package menu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// ResultStatus says how good a result is. A stage that could not answer at all is a [StageFailed] event, not a result.
type ResultStatus string

// The statuses of a result. Unknown is an honest answer; it never means "safe".
const (
	StatusOK      ResultStatus = "ok"
	StatusPartial ResultStatus = "partial"
	StatusUnknown ResultStatus = "unknown"
	StatusSkipped ResultStatus = "skipped"
)

// Basis says what a result rests on.
type Basis string

// The bases of a result.
const (
	BasisExact    Basis = "exact"    // the knowledge base has this dish
	BasisComposed Basis = "composed" // put together from the parts of the name
	BasisGlossary Basis = "glossary" // a word list
	BasisCategory Basis = "category" // only the menu's category is known
	BasisModel    Basis = "model"    // a model was asked
	BasisSearch   Basis = "search"   // a search engine
	BasisDeclared Basis = "declared" // the restaurant said so
	BasisNone     Basis = "none"     // nothing
)

// Result is the envelope around one stage's answer for one dish; only Data differs between stages.
type Result struct {
	Stage           Stage           `json:"stage"`            // as the event's
	Status          ResultStatus    `json:"status"`           // ok, partial, unknown or skipped; unknown never means safe
	Provider        string          `json:"provider"`         // who answered
	ProviderVersion string          `json:"provider_version"` // of the provider's knowledge or model
	Basis           Basis           `json:"basis"`            // what the answer rests on
	Confidence      float64         `json:"confidence"`       // 0 to 1
	Data            json.RawMessage `json:"data"`             // a JSON object in the stage's schema, or null
	Warnings        Strings         `json:"warnings"`         // for the reader
	Attribution     Strings         `json:"attribution"`      // whose texts or pictures it uses
	Error           *string         `json:"error"`            // why status is not ok, if there is more to say
	ElapsedMS       int64           `json:"elapsed_ms"`       // the provider's time; 0 if it was not asked

	CachedAt *time.Time `json:"cached_at,omitempty"` // when the provider gave this answer to another menu; absent: it was asked for this one
}

// Strings is a list that is never null in JSON.
type Strings []string

// MarshalJSON returns [] for an empty list.
func (s Strings) MarshalJSON() ([]byte, error) {
	if len(s) == 0 {
		return []byte("[]"), nil
	}
	return json.Marshal([]string(s))
}

// Validate says what makes the result unfit for the log.
func (r Result) Validate() error {
	switch r.Status {
	case StatusOK, StatusPartial, StatusUnknown, StatusSkipped:
	default:
		return fmt.Errorf("result status %q is none of ok, partial, unknown, skipped", r.Status)
	}
	switch r.Basis {
	case BasisExact, BasisComposed, BasisGlossary, BasisCategory, BasisModel, BasisSearch, BasisDeclared, BasisNone:
	default:
		return fmt.Errorf("result basis %q is unknown", r.Basis)
	}
	if r.Provider == "" {
		return fmt.Errorf("result names no provider")
	}
	if math.IsNaN(r.Confidence) || r.Confidence < 0 || r.Confidence > 1 {
		return fmt.Errorf("result confidence %v is not between 0 and 1", r.Confidence)
	}
	if data := bytes.TrimSpace(r.Data); len(data) > 0 && data[0] != '{' && !bytes.Equal(data, []byte("null")) {
		return fmt.Errorf("result data is neither a JSON object nor null")
	}
	return nil
}
