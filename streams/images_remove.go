package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
)

const (
	// orphanAge is how old bytes without a name have to be before they count as left over from a writer that died.
	orphanAge = time.Hour
	// leaderTimeout bounds the wait for one answer of the stream's leader.
	leaderTimeout = 5 * time.Second
	// codeSequenceNotFound is the leader's answer to the deletion of a message that is not there.
	codeSequenceNotFound jetstream.ErrorCode = 10043
)

// Delete removes a picture and overwrites it where it lies on the disk. Deleting again is no failure.
func (s *Images) Delete(ctx context.Context, image Image) error {
	name, err := image.name()
	if err != nil {
		return err
	}
	return s.remove(ctx, name)
}

// Erase removes all pictures of a session as [Images.Delete] does.
func (s *Images) Erase(ctx context.Context, key menu.Key) error {
	names, err := s.names(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if owner, known := sessionOf(name); known && owner == key {
			if err := s.remove(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Sessions returns the sessions that have pictures, in no order.
func (s *Images) Sessions(ctx context.Context) ([]menu.Key, error) {
	names, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	keys := map[menu.Key]bool{}
	for _, name := range names {
		if key, known := sessionOf(name); known {
			keys[key] = true
		}
	}
	return slices.Collect(maps.Keys(keys)), nil
}

func sessionOf(name string) (menu.Key, bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 4 {
		return menu.Key{}, false
	}
	return menu.Key{Tenant: menu.Tenant(parts[0]), Session: menu.SessionID(parts[1])}, true
}

// names returns the names of all pictures.
func (s *Images) names(ctx context.Context) ([]string, error) {
	subjects, err := s.subjects(ctx, imageMeta+">")
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(subjects))
	for _, subject := range subjects {
		if name, is := imageName(subject); is {
			names = append(names, name)
		}
	}
	return names, nil
}

func (s *Images) subjects(ctx context.Context, filter string) ([]string, error) {
	stream, err := s.js.Stream(ctx, imageStream)
	if err != nil {
		return nil, fmt.Errorf("list the pictures: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("list the pictures: %w", err)
	}
	return slices.Collect(maps.Keys(info.State.Subjects)), nil
}

// Tidy removes what writers left behind that died between a picture's bytes and its name.
func (s *Images) Tidy(ctx context.Context) error { return s.tidy(ctx, orphanAge) }

func (s *Images) tidy(ctx context.Context, age time.Duration) error {
	chunks, err := s.subjects(ctx, imageChunks+">")
	if err != nil {
		return err
	}
	names, err := s.names(ctx)
	if err != nil || len(chunks) <= len(names) {
		return err // each picture has one subject of chunks
	}
	named := make(map[string]bool, len(names))
	for _, name := range names {
		info, err := s.info(ctx, name)
		if err != nil && !errors.Is(err, ErrNoImage) {
			return err
		}
		named[imageChunks+info.NUID] = true
	}
	for _, subject := range chunks {
		if named[subject] {
			continue
		}
		newest, err := s.ask(ctx, "MSG.GET", map[string]any{"last_by_subj": subject})
		if errors.Is(err, ErrNoImage) || err == nil && time.Since(newest.Time) < age {
			continue
		}
		if err == nil {
			err = s.wipe(ctx, subject)
		}
		if err != nil {
			return fmt.Errorf("remove an unfinished picture: %w", err)
		}
	}
	return nil
}

// info reads what the store says of a picture.
func (s *Images) info(ctx context.Context, name string) (jetstream.ObjectInfo, error) {
	var info jetstream.ObjectInfo
	msg, err := s.ask(ctx, "MSG.GET", map[string]any{"last_by_subj": metaSubject(name)})
	if err != nil {
		return info, fmt.Errorf("look for picture %s: %w", name, err)
	}
	if err := json.Unmarshal(msg.Data, &info); err != nil {
		return info, fmt.Errorf("look for picture %s: %w", name, err)
	}
	if info.Deleted { // by another client: ours leaves nothing
		return info, fmt.Errorf("look for picture %s: %w", name, ErrNoImage)
	}
	return info, nil
}

// remove removes a picture's bytes and then its name, so that a removal that was cut off can be repeated.
func (s *Images) remove(ctx context.Context, name string) error {
	info, err := s.info(ctx, name)
	if err == nil {
		err = s.wipe(ctx, imageChunks+info.NUID)
	}
	if err == nil || errors.Is(err, ErrNoImage) {
		err = s.wipe(ctx, metaSubject(name))
	}
	if err != nil {
		return fmt.Errorf("remove picture %s: %w", name, err)
	}
	return nil
}

// wipe overwrites and removes every message of a subject. The object store's own removal would leave their bytes in the
// block files until the broker rewrites those.
func (s *Images) wipe(ctx context.Context, subject string) error {
	for {
		msg, err := s.next(ctx, subject, 1)
		if errors.Is(err, ErrNoImage) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := s.ask(ctx, "MSG.DELETE", map[string]any{"seq": msg.Seq}); err != nil && !errors.Is(err, ErrNoImage) {
			return err
		}
	}
}

// next returns the first message of a subject from a sequence on.
func (s *Images) next(ctx context.Context, subject string, from uint64) (storedMessage, error) {
	return s.ask(ctx, "MSG.GET", map[string]any{"next_by_subj": subject, "seq": from})
}

// storedMessage is a message as the leader of a stream returns it.
type storedMessage struct {
	Seq  uint64    `json:"seq"`
	Data []byte    `json:"data"`
	Time time.Time `json:"time"`
}

// ask sends a request to the leader of the pictures' stream: a replica may lag, and not know a picture that was just made.
// What is not there is [ErrNoImage].
func (s *Images) ask(ctx context.Context, operation string, request any) (storedMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message storedMessage       `json:"message"`
	}
	body, err := json.Marshal(request)
	if err != nil {
		return answer.Message, fmt.Errorf("encode a request to the leader: %w", err)
	}
	reply, err := s.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM."+operation+"."+imageStream, body)
	if err != nil {
		return answer.Message, fmt.Errorf("ask the leader: %w", err)
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return answer.Message, fmt.Errorf("read the leader's answer: %w", err)
	}
	switch {
	case answer.Error == nil:
		return answer.Message, nil
	case answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound, answer.Error.ErrorCode == codeSequenceNotFound:
		return answer.Message, ErrNoImage
	}
	return answer.Message, fmt.Errorf("the leader refused: %w", answer.Error)
}
