package projections_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"kondate/domain/menu"
	"kondate/domain/menu/menutest"
	"kondate/streams"
	"kondate/streams/natstest"
)

// An erasure takes the session's pictures too: those that are there, one that is finished late, and one that nobody recorded
// because its maker died. Nothing of them stays on the disk.
func TestErasureReachesPictures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newFixture(t)
	log, js, cfg := realLog(natstest.NewWith(t, streams.ServerConfig{StoreDir: dir}))
	images := streams.NewImages(js)
	cfg.Pictures = images
	stop := f.project(log, cfg)
	erased, kept := menutest.Key("s-erased"), menutest.Key("s-kept")
	items := menutest.Items(string(erased.Session), 1)
	dish := items[0].ID

	mark := make([]byte, 64)
	if _, err := rand.Read(mark); err != nil {
		t.Fatal(err)
	}
	image := func(key menu.Key, epoch int) streams.Image {
		return streams.Image{Key: key, Dish: dish, Epoch: epoch, MediaType: streams.MediaPNG}
	}
	put := func(image streams.Image) {
		t.Helper()
		if err := images.Put(t.Context(), image, bytes.Repeat(mark, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	submission, err := log.AppendMenu(t.Context(), erased, 0, propose(menutest.Submitted(items))...)
	if err != nil {
		t.Fatal(err)
	}
	record := func(e menu.Event) {
		t.Helper()
		p := propose(e)
		p[0].Correlation = submission.IDs[0]
		if _, err := log.Append(t.Context(), erased, p...); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(when string) {
		t.Helper()
		for epoch := range 4 {
			if _, err := images.Get(t.Context(), image(erased, epoch)); !errors.Is(err, streams.ErrNoImage) {
				t.Errorf("%s picture %d is still there: %v", when, epoch, err)
			}
		}
		if onDisk(t, dir, mark) {
			t.Errorf("%s a picture is still on the disk", when)
		}
	}

	record(menu.ImageRequested{ID: dish, Epoch: 1})
	put(image(erased, 1))
	record(menu.ImageCompleted{ID: dish, Epoch: 1, URL: "/x"})
	record(menu.ImageRequested{ID: dish, Epoch: 2})
	if !onDisk(t, dir, mark) {
		t.Fatal("the picture is not on the disk before the erasure: this test finds nothing")
	}
	if _, err := log.AppendMenu(t.Context(), erased, submission.Seq, propose(menu.Erased{By: "guest"})...); err != nil {
		t.Fatal(err)
	}
	f.waitFor(f.last(log))
	f.purged()
	gone("after the erasure")

	put(image(erased, 2)) // it was being made
	record(menu.ImageCompleted{ID: dish, Epoch: 2, URL: "/x"})
	f.waitFor(f.last(log))
	f.purged()
	gone("after a late picture")

	put(image(erased, 3)) // and its maker dies
	if err := images.Put(t.Context(), image(kept, 1), []byte("kept")); err != nil {
		t.Fatal(err)
	}
	_ = stop()
	f.project(log, cfg)
	f.eventually("the picture that nobody recorded goes", func() bool {
		_, err := images.Get(t.Context(), image(erased, 3))
		return errors.Is(err, streams.ErrNoImage) && !onDisk(t, dir, mark)
	})
	gone("after the next start")
	if body, err := images.Get(t.Context(), image(kept, 1)); err != nil || string(body) != "kept" {
		t.Errorf("a picture of another session: %q, %v", body, err)
	}
}
