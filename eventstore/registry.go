package eventstore

import (
	"fmt"

	"kondate/domain/menu"
)

//go:generate go test -run ^TestEventDocs$ . -update

// Definition is one entry of the registry of events: a type that may stand in the log.
type Definition struct {
	Type    menu.Type
	Version int // the newest, which is written; every one from 1 on can be read

	decode func(data []byte) (menu.Event, error) // a body of the newest version
	upcast []upcaster                            // the first takes version 1 to 2, and so on up to the newest
}

// Changes says what each version after the first changed, the second one's first.
func (d Definition) Changes() []string {
	changes := make([]string, len(d.upcast))
	for i, u := range d.upcast {
		changes[i] = u.change
	}
	return changes
}

// Registry lists every type of event that this program knows.
func Registry() []Definition {
	defs := []Definition{
		define(menu.Submitted{}, decodeAs[menu.Submitted]),
		define(menu.Completed{}, decodeAs[menu.Completed]),
		define(menu.Expired{}, decodeAs[menu.Expired]),
		define(menu.Erased{}, decodeAs[menu.Erased]),
		define(menu.ImageRequested{}, decodeAs[menu.ImageRequested]),
		define(menu.ImageCompleted{}, decodeAs[menu.ImageCompleted]),
		define(menu.ImageFailed{}, decodeAs[menu.ImageFailed]),
	}
	for _, stage := range menu.Stages() {
		defs = append(
			defs,
			define(menu.StageCompleted{Stage: stage}, decodeResults, completed2),
			define(menu.StageAttemptFailed{Stage: stage}, decodeAs[menu.StageAttemptFailed], attemptFailed2),
			define(menu.StageFailed{Stage: stage}, decodeAs[menu.StageFailed]),
			define(menu.StageRetryRequested{Stage: stage}, decodeAs[menu.StageRetryRequested]),
		)
	}
	return defs
}

// define makes the definition of an event's type. Its version is one more than it has upcasters.
func define(event menu.Event, decode func([]byte) (menu.Event, error), upcast ...upcaster) Definition {
	return Definition{Type: event.Type(), Version: len(upcast) + 1, decode: decode, upcast: upcast}
}

// registry indexes Registry; it is read only.
var registry = func() map[menu.Type]Definition { //nolint:gochecknoglobals // an index of constants
	m := map[menu.Type]Definition{}
	for _, d := range Registry() {
		m[d.Type] = d
	}
	return m
}()

// latest returns the version that is written for a type.
func latest(typ menu.Type) int { return registry[typ].Version }

func decodeEvent(typ menu.Type, version int, data []byte) (menu.Event, error) {
	data, err := Upcast(typ, version, data)
	if err != nil {
		return nil, err
	}
	return registry[typ].decode(data)
}

func decodeAs[E menu.Event](data []byte) (menu.Event, error) {
	var e E
	if err := unmarshal(data, &e); err != nil {
		return nil, err
	}
	return e, nil
}

// decodeResults also refuses a result that no writer of ours would have recorded.
func decodeResults(data []byte) (menu.Event, error) {
	var e menu.StageCompleted
	if err := unmarshal(data, &e); err != nil {
		return nil, err
	}
	for _, r := range e.Results {
		if err := r.Result.Validate(); err != nil {
			return nil, fmt.Errorf("%w: dish %s: %w", ErrMalformed, r.ID, err)
		}
		if r.Result.Stage != e.Stage {
			return nil, fmt.Errorf("%w: dish %s: a result of %s among those of %s", ErrMalformed, r.ID, r.Result.Stage, e.Stage)
		}
	}
	return e, nil
}

// DecodeLatest reads the body of an event in the newest version of its type, as live streams carry it.
func DecodeLatest(typ menu.Type, data []byte) (menu.Event, error) {
	return decodeEvent(typ, latest(typ), data)
}
