package streams_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"kondate/domain/menu"
	"kondate/streams"
	"kondate/streams/natstest"
)

var dinner = menu.Key{Tenant: "public", Session: "dinner"}

func imageOf(key menu.Key, dish menu.DishID, epoch int) streams.Image {
	return streams.Image{Key: key, Dish: dish, Epoch: epoch, MediaType: streams.MediaPNG}
}

// noise is a body that no other part of a store has.
func noise(t *testing.T, size int) []byte {
	t.Helper()
	body := make([]byte, size)
	if _, err := rand.Read(body); err != nil {
		t.Fatal(err)
	}
	return body
}

func put(t *testing.T, s *streams.Images, image streams.Image, body []byte) {
	t.Helper()
	if err := s.Put(t.Context(), image, body); err != nil {
		t.Fatal(err)
	}
}

func gone(t *testing.T, s *streams.Images, image streams.Image) {
	t.Helper()
	if body, err := s.Get(t.Context(), image); !errors.Is(err, streams.ErrNoImage) {
		t.Errorf("Get(%+v) = %d bytes, %v; want ErrNoImage", image, len(body), err)
	}
}

// onDisk says whether a file below a folder holds the bytes.
func onDisk(t *testing.T, dir string, wanted []byte) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		held, err := os.ReadFile(path)
		found = found || bytes.Contains(held, wanted)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestImages(t *testing.T) {
	t.Parallel()
	js := broker(t)
	ensure(t, js, topology)
	ensure(t, js, topology) // again
	s := streams.NewImages(js)

	small, large := noise(t, 10), noise(t, 300<<10) // of several chunks
	first, second := imageOf(dinner, "soba", 1), imageOf(dinner, "soba", 2)
	vector := first
	vector.MediaType = streams.MediaSVG
	gone(t, s, first)
	put(t, s, first, small)
	put(t, s, vector, large)
	put(t, s, second, large)
	put(t, s, first, large) // it is there already
	for image, want := range map[streams.Image][]byte{first: small, vector: large, second: large} {
		if got, err := s.Get(t.Context(), image); err != nil || !bytes.Equal(got, want) {
			t.Errorf("Get(%+v) = %d bytes, %v; want %d", image, len(got), err, len(want))
		}
	}
	gone(t, s, imageOf(menu.Key{Tenant: "other", Session: "dinner"}, "soba", 1))

	for range 2 {
		if err := s.Delete(t.Context(), first); err != nil {
			t.Error(err)
		}
	}
	gone(t, s, first)
	put(t, s, first, small)
	if got, err := s.Get(t.Context(), first); err != nil || !bytes.Equal(got, small) {
		t.Errorf("after a deletion: %d bytes, %v", len(got), err)
	}
	if got, err := s.Get(t.Context(), vector); err != nil || !bytes.Equal(got, large) {
		t.Errorf("the other form: %d bytes, %v", len(got), err)
	}
}

func TestImagesRefuse(t *testing.T) {
	t.Parallel()
	js := broker(t)
	// Made by somebody before us, smaller.
	if _, err := js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: streams.ImageBucket, MaxBytes: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	ensure(t, js, topology)
	s := streams.NewImages(js)
	for _, body := range [][]byte{nil, make([]byte, streams.MaxImage+1)} {
		if err := s.Put(t.Context(), imageOf(dinner, "soba", 1), body); err == nil {
			t.Errorf("a picture of %d bytes was kept", len(body))
		}
	}
	if err := s.Put(t.Context(), streams.Image{Key: dinner, Dish: "soba", MediaType: "image/bmp"}, noise(t, 9)); err == nil {
		t.Error("a picture of another type was kept")
	}
	if err := s.Put(t.Context(), imageOf(dinner, "soba", 1), noise(t, 200<<10)); !errors.Is(err, streams.ErrImagesFull) {
		t.Errorf("a picture that does not fit: %v", err)
	}
	gone(t, s, imageOf(dinner, "soba", 1))
	put(t, s, imageOf(dinner, "soba", 1), noise(t, 9))
}

func TestImagesErase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	js := connect(t, start(t, streams.ServerConfig{StoreDir: dir}))
	ensure(t, js, topology)
	s := streams.NewImages(js)
	lunch, theirs := menu.Key{Tenant: "public", Session: "dinner2"}, menu.Key{Tenant: "other", Session: "dinner"}
	body, kept := noise(t, 200<<10), noise(t, 200<<10)
	mark := body[150<<10:][:64] // in the second chunk
	put(t, s, imageOf(dinner, "soba", 1), body)
	put(t, s, imageOf(dinner, "udon", 3), noise(t, 10))
	put(t, s, imageOf(lunch, "soba", 1), kept)
	put(t, s, imageOf(theirs, "soba", 1), kept)
	if !onDisk(t, dir, mark) {
		t.Fatal("the picture is not found on the disk, the test cannot fail")
	}
	for range 2 {
		if err := s.Erase(t.Context(), dinner); err != nil {
			t.Fatal(err)
		}
	}
	gone(t, s, imageOf(dinner, "soba", 1))
	gone(t, s, imageOf(dinner, "udon", 3))
	if onDisk(t, dir, mark) {
		t.Error("the erased picture is still on the disk")
	}
	for _, key := range []menu.Key{lunch, theirs} {
		if got, err := s.Get(t.Context(), imageOf(key, "soba", 1)); err != nil || !bytes.Equal(got, kept) {
			t.Errorf("a picture of %s: %d bytes, %v", key, len(got), err)
		}
	}
	keys, err := s.Sessions(t.Context())
	if err != nil || len(keys) != 2 || !slices.Contains(keys, lunch) || !slices.Contains(keys, theirs) {
		t.Errorf("Sessions() = %v, %v", keys, err)
	}
}

// On three servers a picture can be read the moment it was kept, and is gone the moment it was removed, whichever server has the
// connection: a replica may lag behind.
func TestImagesOnACluster(t *testing.T) {
	t.Parallel()
	cluster := natstest.NewCluster(t)
	writer, reader := streams.NewImages(cluster.JetStream()), streams.NewImages(cluster.JetStream())
	body := noise(t, 200<<10)
	for epoch := range 20 {
		image := imageOf(dinner, "soba", epoch)
		put(t, writer, image, body)
		if got, err := reader.Get(t.Context(), image); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("picture %d: %d bytes, %v", epoch, len(got), err)
		}
		if err := writer.Delete(t.Context(), image); err != nil {
			t.Fatal(err)
		}
		gone(t, reader, image)
	}
}

// A writer that dies between the bytes and their name leaves bytes that nobody can ask for.
func TestImagesTidy(t *testing.T) {
	t.Parallel()
	js := broker(t)
	ensure(t, js, topology)
	s := streams.NewImages(js)
	put(t, s, imageOf(dinner, "soba", 1), noise(t, 10))
	if _, err := js.Publish(t.Context(), "$O."+streams.ImageBucket+".C.LEFTOVER", noise(t, 10)); err != nil {
		t.Fatal(err)
	}
	messages := func() uint64 {
		stream, err := js.Stream(t.Context(), "OBJ_"+streams.ImageBucket)
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.Msgs
	}
	for _, step := range []struct {
		tidy func(context.Context) error
		want uint64
	}{
		{s.Tidy, 3}, // it may be a writer at work
		{func(ctx context.Context) error { return streams.TidyNow(ctx, s) }, 2},
	} {
		if err := step.tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := messages(); got != step.want {
			t.Errorf("%d messages, want %d", got, step.want)
		}
	}
	if _, err := s.Get(t.Context(), imageOf(dinner, "soba", 1)); err != nil {
		t.Error(err)
	}
}
