package streams

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// errPlanned ends the look at what hangs on something that is missing.
var errPlanned = errors.New("it is missing")

// Drift says in sentences what [Ensure] would make or change, and changes nothing. What Ensure would refuse is its error.
func Drift(ctx context.Context, js jetstream.JetStream, t Topology) ([]string, error) {
	p := &plan{JetStream: js}
	err := t.ensure(ctx, p)
	if errors.Is(err, errPlanned) {
		err = nil
	}
	return p.changes, err
}

// plan is a JetStream that writes down what it was told to change.
type plan struct {
	jetstream.JetStream

	changes []string
}

func (p *plan) add(format string, args ...any) {
	p.changes = append(p.changes, fmt.Sprintf(format, args...))
}

// CreateStream is [jetstream.JetStream]'s.
func (p *plan) CreateStream(_ context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	p.add("stream %s is missing", cfg.Name)
	return nil, errPlanned
}

// UpdateStream is [jetstream.JetStream]'s.
func (p *plan) UpdateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	have, err := p.Stream(ctx, cfg.Name)
	if err != nil {
		return nil, err
	}
	p.differ("stream "+cfg.Name, have.CachedInfo().Config, cfg)
	return have, nil
}

// CreateObjectStore is [jetstream.JetStream]'s.
func (p *plan) CreateObjectStore(_ context.Context, cfg jetstream.ObjectStoreConfig) (jetstream.ObjectStore, error) {
	p.add("object store %s is missing", cfg.Bucket)
	return nil, nil //nolint:nilnil // Ensure asks only whether it could be made
}

// CreateConsumer is [jetstream.JetStream]'s.
func (p *plan) CreateConsumer(_ context.Context, _ string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	p.add("consumer %s is missing", cfg.Name)
	return nil, nil //nolint:nilnil // as above
}

// UpdateConsumer is [jetstream.JetStream]'s.
func (p *plan) UpdateConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	have, err := p.Consumer(ctx, stream, cfg.Name)
	if err != nil {
		return nil, err
	}
	p.differ("consumer "+cfg.Name, have.CachedInfo().Config, cfg)
	return have, nil
}

// differ names the fields in which two configurations of one type differ, as the broker calls them.
func (p *plan) differ(what string, have, want any) {
	before, after := reflect.ValueOf(have), reflect.ValueOf(want)
	for i := range before.NumField() {
		if x, y := before.Field(i).Interface(), after.Field(i).Interface(); !reflect.DeepEqual(x, y) {
			name, _, _ := strings.Cut(before.Type().Field(i).Tag.Get("json"), ",")
			p.add("%s has %s %v, the settings say %v", what, name, x, y)
		}
	}
}
