package external

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kondate/domain/menu"
	"kondate/handlers/stage"
)

const (
	// HeaderFinal is the header of the last reply to a request; its value is [FinalValue].
	HeaderFinal = "Kondate-Final"
	// FinalValue is the value of [HeaderFinal].
	FinalValue = "1"

	// maxReason bounds the reason of a worker's error, in bytes.
	maxReason = 64
)

// request is the body of a request.
type request struct {
	SessionID      menu.SessionID `json:"session_id"`
	SourceLanguage string         `json:"source_language"`
	TargetLanguage string         `json:"target_language"`
	Epoch          int            `json:"epoch"`
	Attempt        int            `json:"attempt"`
	Items          []menu.Item    `json:"items"`
}

// reply is the body of a reply: results, or an error for the whole request.
type reply struct {
	results []dishResult
	err     *workerError // nil: results
}

// dishResult is a worker's answer for one dish, not yet held against the schema.
type dishResult struct {
	path string // of the result in the reply
	id   menu.DishID
	raw  json.RawMessage
}

// workerError is a worker's failure, as the engine understands it.
type workerError struct {
	reason    string
	permanent bool
}

// decodeReply reads a reply. The error names the place in it that is wrong.
func decodeReply(raw []byte) (reply, error) {
	if len(raw) == 0 {
		return reply{}, errors.New(`the reply has no body: the last one needs at least {"results":[]}`)
	}
	if _, err := stage.DecodeStrict(raw); err != nil {
		return reply{}, err
	}
	fields, err := object("", raw, "results", "error")
	if err != nil {
		return reply{}, err
	}
	results, failed := fields["results"], fields["error"]
	switch {
	case (results == nil) == (failed == nil):
		return reply{}, errors.New("the reply needs exactly one of results and error")
	case failed != nil:
		e, err := decodeError(failed)
		return reply{err: e}, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(results, &list); err != nil || list == nil {
		return reply{}, errors.New("results: no list")
	}
	var r reply
	for i, one := range list {
		at := "results[" + strconv.Itoa(i) + "]"
		fields, err := object(at, one, "menu_id", "result")
		if err != nil {
			return reply{}, err
		}
		var id string
		if err := json.Unmarshal(fields["menu_id"], &id); err != nil || id == "" {
			return reply{}, fmt.Errorf("%s.menu_id: no text", at)
		}
		if fields["result"] == nil {
			return reply{}, fmt.Errorf("%s.result: missing", at)
		}
		r.results = append(r.results, dishResult{path: at + ".result", id: menu.DishID(id), raw: fields["result"]})
	}
	return r, nil
}

func decodeError(raw json.RawMessage) (*workerError, error) {
	fields, err := object("error", raw, "reason", "permanent")
	if err != nil {
		return nil, err
	}
	var e workerError
	if err := json.Unmarshal(fields["reason"], &e.reason); err != nil || strings.TrimSpace(e.reason) == "" {
		return nil, errors.New("error.reason: no text")
	}
	e.reason = label(e.reason)
	if permanent := fields["permanent"]; permanent != nil {
		if err := json.Unmarshal(permanent, &e.permanent); err != nil || bytes.Equal(permanent, []byte("null")) {
			return nil, errors.New("error.permanent: neither true nor false")
		}
	}
	return &e, nil
}

// label makes one short line of a worker's reason: failures are grouped by it.
func label(reason string) string {
	reason = strings.Join(strings.FieldsFunc(reason, func(r rune) bool { return r <= ' ' || r >= 0x7f && r < 0xa0 }), " ")
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	return reason
}

// object returns the fields of an object that has no others than the known ones. encoding/json alone would also take
// keys in other cases.
func object(at string, raw json.RawMessage, known ...string) (map[string]json.RawMessage, error) {
	where := at
	if at == "" {
		where = "the reply"
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return nil, fmt.Errorf("%s: no JSON object", where)
	}
	for key := range fields {
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("%s: the key %q is unknown, it may have %s", where, key, strings.Join(known, ", "))
		}
	}
	return fields, nil
}

// ourNames are the providers that a worker may not pass itself off as.
func ourNames() []string { return []string{"local", "openai", "commons"} }

// errProviderName marks a result under one of our own names.
var errProviderName = errors.New("this name is Kondate's own, use the worker's")

// check holds a dish's result against the schema of the stage.
func (d dishResult) check(s menu.Stage) (menu.Result, error) {
	result, err := stage.ValidateResult(s, d.raw)
	if err == nil && slices.Contains(ourNames(), result.Provider) {
		err = fmt.Errorf("provider: %q: %w", result.Provider, errProviderName)
	}
	if err != nil {
		return menu.Result{}, fmt.Errorf("%s: %w", d.path, err)
	}
	return result, nil
}
