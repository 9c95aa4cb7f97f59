//go:build linux

package torture_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// diskBytes is the size of the disk that can be full.
const diskBytes = "1g"

// smallDisk gives a broker a disk of its own for its streams, in memory. Only root may; without it the broker has none,
// and a full disk is a full log.
func (b *broker) smallDisk(tb testing.TB) {
	tb.Helper()
	if err := os.Mkdir(b.store, 0o755); err != nil {
		tb.Fatal(err)
	}
	// It is mounted for the thread that starts the fleet alone, and so the kernel unmounts it when both are gone.
	if err := onThread()(func() error {
		if err := syscall.Unshare(syscall.CLONE_FS | syscall.CLONE_NEWNS); err != nil {
			return err
		}
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			return err
		}
		return syscall.Mount("torture", b.store, "tmpfs", 0, "size="+diskBytes)
	}); err != nil {
		tb.Logf("%s has no disk of its own (%v): where the plan says full disk, the log is full", b.name, err)
		return
	}
	b.disk = true
}

// fillDisk leaves no byte on the broker's disk.
func (b *broker) fillDisk() error {
	var filler *os.File
	if err := onThread()(func() (err error) {
		filler, err = os.Create(b.filler())
		return err
	}); err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	var err error
	for err == nil {
		_, err = filler.Write(block)
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	return errors.Join(err, filler.Close())
}

// freeDisk makes room again. The broker takes nothing before it is started anew, as its supervisor would.
func (b *broker) freeDisk(ctx context.Context) error {
	if err := onThread()(func() error { return os.Remove(b.filler()) }); err != nil {
		return err
	}
	b.kill()
	return b.restart(ctx)
}

func (b *broker) filler() string { return filepath.Join(b.store, "filler") }

// unmount gives the disk back when the broker has ended.
func (b *broker) unmount() error {
	if !b.disk {
		return nil
	}
	return onThread()(func() error { return syscall.Unmount(b.store, syscall.MNT_DETACH) })
}

// limitLog makes the log take bytes more and then no event, or any number when bytes is 0.
func (f *fleet) limitLog(ctx context.Context, bytes int64) error {
	return until(ctx, "the log has another limit", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		stream, err := f.js.Stream(ctx, eventStream)
		if err != nil {
			return err
		}
		info := stream.CachedInfo()
		next := info.Config
		if next.MaxBytes = logBytes; bytes > 0 {
			next.MaxBytes = int64(info.State.Bytes) + bytes
		}
		_, err = f.js.UpdateStream(ctx, next)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return errors.New("no broker leads")
		}
		return err
	})
}
