package eventstore

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/google/uuid"

	"kondate/domain/menu"
)

// idNamespace is the UUIDv5 namespace of event ids: 6f0b7c1e-3f0a-5c52-9d0e-1a7c3b9e4d21.
var idNamespace = uuid.UUID{0x6f, 0x0b, 0x7c, 0x1e, 0x3f, 0x0a, 0x5c, 0x52, 0x9d, 0x0e, 0x1a, 0x7c, 0x3b, 0x9e, 0x4d, 0x21} //nolint:gochecknoglobals // a constant; Go has no constant arrays

// dishRef is what an event says of one dish, as the id sees it.
type dishRef struct {
	id             menu.DishID
	epoch, attempt int
}

// EventID derives the id of an event: UUIDv5 over the JSON array
// [tenant, session, lane, event, causation, n, [[menu_id, epoch, attempt], …]]; n is the chunk of a submission or the
// round of a completion, else 0. Proposing the same fact twice thus gives the same id.
func EventID(key menu.Key, causation string, event menu.Event) (string, error) {
	n, refs := identity(event)
	typ := event.Type()
	// Written by hand: it is a third of the work of an append, and encoding/json takes ten times as long for it.
	name := make([]byte, 0, 128+64*len(refs))
	name = append(name, '[')
	for _, s := range []string{string(key.Tenant), string(key.Session), string(typ.Lane()), typ.Name(), causation} {
		name = append(appendString(name, s), ',')
	}
	name = append(strconv.AppendInt(name, int64(n), 10), ",["...)
	for i, r := range refs {
		if i > 0 {
			name = append(name, ',')
		}
		name = append(appendString(append(name, '['), string(r.id)), ',')
		name = append(strconv.AppendInt(name, int64(r.epoch), 10), ',')
		name = append(strconv.AppendInt(name, int64(r.attempt), 10), ']')
	}
	name = append(name, "]]"...)
	if !utf8.Valid(name) {
		return "", fmt.Errorf("derive the id of %s: its ids are not valid UTF-8", typ)
	}
	return uuid.NewSHA1(idNamespace, name).String(), nil
}

// appendString appends a JSON string. Ids need no escapes; whatever does is left to encoding/json.
func appendString(to []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(to, quoted...)
		}
	}
	return append(append(append(to, '"'), s...), '"')
}

// identity returns what tells this event from another one of its type and cause.
func identity(event menu.Event) (n int, refs []dishRef) {
	switch e := event.(type) {
	case menu.Submitted:
		n = e.Chunk
		for _, item := range e.Items {
			refs = append(refs, dishRef{item.ID, 0, 0})
		}
	case menu.Completed:
		n = e.Round
	case menu.Expired, menu.Erased:
	case menu.StageCompleted:
		for _, r := range e.Results {
			refs = append(refs, dishRef{r.ID, r.Epoch, r.Attempt})
		}
	case menu.StageAttemptFailed:
		refs = dishRefs(e.IDs, e.Epoch, e.Attempt)
	case menu.StageFailed:
		refs = dishRefs(e.IDs, e.Epoch, e.Attempts)
	case menu.StageRetryRequested:
		refs = dishRefs(e.IDs, e.Epoch, 0)
	case menu.ImageRequested:
		refs = []dishRef{{e.ID, e.Epoch, 0}}
	case menu.ImageCompleted:
		refs = []dishRef{{e.ID, e.Epoch, 0}}
	case menu.ImageFailed:
		refs = []dishRef{{e.ID, e.Epoch, 0}}
	}
	return n, refs
}

func dishRefs(ids []menu.DishID, epoch, attempt int) []dishRef {
	refs := make([]dishRef, len(ids))
	for i, id := range ids {
		refs[i] = dishRef{id, epoch, attempt}
	}
	return refs
}
