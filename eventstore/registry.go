package eventstore

import (
	"fmt"

	"kondate/domain/menu"
)

// Definition is one entry of the registry of events: a type and a version that may stand in the log.
type Definition struct {
	Type    menu.Type
	Version int
	decode  func(data []byte) (menu.Event, error)
}

// Registry lists every (type, version) that this program can read. It writes the highest version of each type.
func Registry() []Definition {
	defs := []Definition{
		{menu.Submitted{}.Type(), 1, decodeAs[menu.Submitted]},
		{menu.Completed{}.Type(), 1, decodeAs[menu.Completed]},
		{menu.Expired{}.Type(), 1, decodeAs[menu.Expired]},
		{menu.Erased{}.Type(), 1, decodeAs[menu.Erased]},
		{menu.ImageRequested{}.Type(), 1, decodeAs[menu.ImageRequested]},
		{menu.ImageCompleted{}.Type(), 1, decodeAs[menu.ImageCompleted]},
		{menu.ImageFailed{}.Type(), 1, decodeAs[menu.ImageFailed]},
	}
	for _, stage := range menu.Stages() {
		defs = append(
			defs,
			Definition{menu.StageCompleted{Stage: stage}.Type(), 1, decodeResults},
			Definition{menu.StageAttemptFailed{Stage: stage}.Type(), 1, decodeAs[menu.StageAttemptFailed]},
			Definition{menu.StageFailed{Stage: stage}.Type(), 1, decodeAs[menu.StageFailed]},
			Definition{menu.StageRetryRequested{Stage: stage}.Type(), 1, decodeAs[menu.StageRetryRequested]},
		)
	}
	return defs
}

type definitionKey struct {
	typ     menu.Type
	version int
}

// registry and versions index Registry; both are read only.
var (
	registry = func() map[definitionKey]Definition { //nolint:gochecknoglobals // an index of constants
		m := map[definitionKey]Definition{}
		for _, d := range Registry() {
			m[definitionKey{d.Type, d.Version}] = d
		}
		return m
	}()
	versions = func() map[menu.Type]int { //nolint:gochecknoglobals // an index of constants
		m := map[menu.Type]int{}
		for _, d := range Registry() {
			m[d.Type] = max(m[d.Type], d.Version)
		}
		return m
	}()
)

// latest returns the version that is written for a type.
func latest(typ menu.Type) int { return versions[typ] }

func decodeEvent(typ menu.Type, version int, data []byte) (menu.Event, error) {
	d, known := registry[definitionKey{typ, version}]
	if !known {
		return nil, fmt.Errorf("%w: %s version %d", ErrUnknownEvent, typ, version)
	}
	return d.decode(data)
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
