//go:build linux

package torture_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publish puts a message into the log past the program, marked for the checker. A broker that drops it as a duplicate, or
// is away, is as good; taken says whether it is in the log.
func (f *fleet) publish(ctx context.Context, m *nats.Msg, what string) (taken bool) {
	m.Header.Set(foreignHeader, what)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	ack, err := f.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	return err == nil && !ack.Duplicate
}

// copies publishes recorded events again, the newest first: under their own ids, which the broker drops for two minutes,
// or under new ones, as if somebody had found them. It returns how many the log took.
func (f *fleet) copies(ctx context.Context, r *rand.Rand) (taken int, err error) {
	readCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := f.js.Stream(readCtx, eventStream)
	if err != nil {
		return 0, err
	}
	last := stream.CachedInfo().State.LastSeq
	if last == 0 {
		return 0, errors.New("the log is empty")
	}
	var found []*nats.Msg
	for from := 1 + r.Uint64N(last); from <= last && len(found) < 1+r.IntN(12); from++ {
		raw, err := stream.GetMsg(readCtx, from)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		m := &nats.Msg{Subject: raw.Subject, Header: nats.Header{}, Data: raw.Data}
		for name, values := range raw.Header {
			if !strings.HasPrefix(name, "Nats-") || name == nats.MsgIdHdr {
				m.Header[name] = values
			}
		}
		if r.IntN(2) == 0 {
			m.Header.Set(nats.MsgIdHdr, uuid.NewString())
		}
		found = append(found, m)
	}
	for _, m := range slices.Backward(found) {
		if f.publish(ctx, m, "copy") {
			taken++
		}
	}
	return taken, nil
}

// message is an event as the program writes it, whatever its body is.
func message(tenant, session, lane, event, version, body string) *nats.Msg {
	id := uuid.NewString()
	return &nats.Msg{Subject: fmt.Sprintf("menu.evt.%s.%s.%s.%s", tenant, session, lane, event), Data: []byte(body), Header: nats.Header{
		nats.MsgIdHdr: {id}, "ce-specversion": {"1.0"}, "ce-id": {id}, "ce-type": {lane + "." + event}, "ce-source": {"/menus/public/" + session},
		"ce-time": {time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")}, "content-type": {"application/json"}, "Kondate-Schema": {version},
	}}
}

// stray is a result that is as it should be, of a dish that nobody has.
func stray(session string) *nats.Msg {
	return message("public", session, "task6", "completed", "2", `{"stage":"task6","results":[{"menu_id":"nobody","epoch":0,"attempt":1,"result":`+
		`{"stage":"task6","status":"unknown","provider":"torture","basis":"none","confidence":0,"data":null}}]}`)
}

// TestStray: what is to be ignored for its dish can be read.
func TestStray(t *testing.T) {
	t.Parallel()
	m := stray("s1")
	if e := decode(logged{Subject: m.Subject, Header: m.Header, Data: m.Data}); e.state != readable || len(e.results.Results) != 1 {
		t.Errorf("it is %+v", e)
	}
}

// poison publishes messages as a broken or hostile program would: for sessions that are there and for some that are not.
// It returns how many the log took.
func (f *fleet) poison(ctx context.Context, r *rand.Rand, sessions []string) (taken int) {
	session := uuid.NewString()
	if len(sessions) > 0 && r.IntN(2) == 0 {
		session = sessions[r.IntN(len(sessions))]
	}
	lane := []string{"menu", "translation", "allergen", "task6", "image"}[r.IntN(5)]
	message := func(tenant, event, version, body string) *nats.Msg {
		return message(tenant, session, lane, event, version, body)
	}
	repeated := message("public", "completed", "1", "{}")
	repeated.Header["ce-id"] = []string{"a", "b"}
	status := message("public", "completed", "1", "")
	status.Header["Status"] = []string{"404"}
	bare := &nats.Msg{Subject: repeated.Subject, Header: nats.Header{}, Data: []byte("x")}
	none := []string{`null`, `[]`, `"献立"`, "\xff\xfe"}
	all := []*nats.Msg{
		message("public", "completed", "1", `{"stage":`), repeated, status, bare,
		message("public", "exploded", "1", "{}"), message("public", "completed", "99", "{}"), message("public", "completed", "one", "{}"),
		message("nobody", "completed", "1", fmt.Sprintf(`{"stage":%q,"results":[]}`, lane)), message("public", "failed", "1", none[r.IntN(len(none))]), stray(session),
		message("public", "completed", "1", `{"x":"`+strings.Repeat("献", 340<<10)+`"}`),
	}
	for range 1 + r.IntN(4) {
		m := all[r.IntN(len(all))]
		if f.publish(ctx, m, "poison") {
			taken++
		}
	}
	return taken
}
