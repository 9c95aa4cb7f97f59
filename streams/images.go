package streams

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
)

const (
	// ImageBucket is the name of the object store that holds the pictures of dishes.
	ImageBucket = "MENU_IMAGES"

	// MaxImage is the size of the largest picture that is kept, in bytes.
	MaxImage = 8 << 20

	// The stream below the object store, and its subjects.
	imageStream = "OBJ_" + ImageBucket
	imageMeta   = "$O." + ImageBucket + ".M."
	imageChunks = "$O." + ImageBucket + ".C."

	// imageBytes bounds the store when it is made: about 5,000 cards in both forms.
	imageBytes = 1 << 30
)

// The kinds of pictures that are kept.
const (
	MediaSVG = "image/svg+xml"
	MediaPNG = "image/png"
)

// ErrNoImage says that there is no such picture.
var ErrNoImage = errors.New("there is no such picture")

// ErrImagesFull says that the store of pictures has no room.
var ErrImagesFull = errors.New("the store of pictures (" + imageStream + ") is full")

// Image names one picture. Its parts must be parsed.
type Image struct {
	Key       menu.Key
	Dish      menu.DishID
	Epoch     int // of the request
	MediaType string
}

// name returns the picture's name in the object store: <tenant>/<session>/<dish>/<epoch>.<svg or png>.
func (i Image) name() (string, error) {
	var ext string
	switch i.MediaType {
	case MediaSVG:
		ext = "svg"
	case MediaPNG:
		ext = "png"
	default:
		return "", fmt.Errorf("name a picture: the media type %q is none of %s, %s", i.MediaType, MediaSVG, MediaPNG)
	}
	return strings.Join([]string{string(i.Key.Tenant), string(i.Key.Session), string(i.Dish), strconv.Itoa(i.Epoch) + "." + ext}, "/"), nil
}

func metaSubject(name string) string {
	return imageMeta + base64.URLEncoding.EncodeToString([]byte(name))
}

// imageName is the inverse of metaSubject; false for a subject that is none.
func imageName(subject string) (string, bool) {
	encoded, is := strings.CutPrefix(subject, imageMeta)
	name, err := base64.URLEncoding.DecodeString(encoded)
	return string(name), is && err == nil
}

func (t Topology) ensureImages(ctx context.Context, js jetstream.JetStream) error {
	want := jetstream.ObjectStoreConfig{
		Bucket: ImageBucket, Description: "pictures of dishes", MaxBytes: imageBytes, Storage: jetstream.FileStorage, Replicas: t.Replicas,
	}
	store, err := js.ObjectStore(ctx, ImageBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if _, err = js.CreateObjectStore(ctx, want); err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrBucketExists) {
			return fmt.Errorf("make the object store %s with %d replicas and %d bytes: %w", ImageBucket, want.Replicas, want.MaxBytes, err)
		}
		store, err = js.ObjectStore(ctx, ImageBucket) // another process was quicker
	}
	if err != nil {
		return fmt.Errorf("look for the object store %s: %w", ImageBucket, err)
	}
	have, err := store.Status(ctx)
	if err != nil {
		return fmt.Errorf("look at the object store %s: %w", ImageBucket, err)
	}
	if err := compatible("object store "+ImageBucket, imageAdvice, []setting{
		{"storage", have.Storage(), want.Storage},
		// What follows would lose pictures without a word, or keep erased ones.
		{"max_age", have.TTL(), want.TTL},
		{"sealed", have.Sealed(), false},
	}); err != nil {
		return err
	}
	if have.Replicas() == want.Replicas {
		return nil
	}
	stream, err := js.Stream(ctx, imageStream)
	if err == nil {
		next := stream.CachedInfo().Config // with the size that the operator may have changed
		next.Replicas = want.Replicas
		_, err = js.UpdateStream(ctx, next)
	}
	if err != nil {
		return fmt.Errorf("change the object store %s to %d replicas: %w", ImageBucket, want.Replicas, err)
	}
	return nil
}

const imageAdvice = "remove it: at the next start it is made anew, and pictures can be asked for again"

// Images is the store of pictures. A picture never changes: another one of the same dish has another epoch.
type Images struct{ js jetstream.JetStream }

// NewImages returns the store over a connection, which stays the caller's. [Ensure] has made it.
func NewImages(js jetstream.JetStream) *Images { return &Images{js: js} }

// Put keeps a picture. One that is there already stays as it is. It returns once the broker has stored all of it.
func (s *Images) Put(ctx context.Context, image Image, body []byte) error {
	name, err := image.name()
	if err != nil {
		return err
	}
	if len(body) == 0 || len(body) > MaxImage {
		return fmt.Errorf("keep picture %s: it has %d bytes, it may have 1 to %d", name, len(body), MaxImage)
	}
	if _, err := s.info(ctx, name); !errors.Is(err, ErrNoImage) {
		return err
	}
	store, err := s.js.ObjectStore(ctx, ImageBucket)
	if err != nil {
		return fmt.Errorf("keep picture %s: %w", name, err)
	}
	if _, err := store.PutBytes(ctx, name, body); err != nil {
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeStoreFailed {
			err = fmt.Errorf("%w: %w", ErrImagesFull, err)
		}
		return fmt.Errorf("keep picture %s: %w", name, err)
	}
	return nil
}

// codeStoreFailed is the broker's answer to a message that it could not store.
const codeStoreFailed jetstream.ErrorCode = 10077

// Get returns a picture, or [ErrNoImage].
func (s *Images) Get(ctx context.Context, image Image) ([]byte, error) {
	name, err := image.name()
	if err != nil {
		return nil, err
	}
	info, err := s.info(ctx, name)
	if err != nil {
		return nil, err
	}
	hash, body := sha256.New(), bytes.Buffer{}
	for from := uint64(1); uint64(body.Len()) < info.Size; { //nolint:gosec // a length
		chunk, err := s.next(ctx, imageChunks+info.NUID, from)
		if errors.Is(err, ErrNoImage) || err == nil && body.Len()+len(chunk.Data) > MaxImage {
			return nil, fmt.Errorf("read picture %s: %w", name, ErrNoImage) // it is being removed, or was never whole
		}
		if err != nil {
			return nil, fmt.Errorf("read picture %s: %w", name, err)
		}
		body.Write(chunk.Data)
		hash.Write(chunk.Data)
		from = chunk.Seq + 1
	}
	if jetstream.GetObjectDigestValue(hash) != info.Digest {
		return nil, fmt.Errorf("read picture %s: %w", name, jetstream.ErrDigestMismatch)
	}
	return body.Bytes(), nil
}
