package streams

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// guard keeps the files of the streams while a server loads them: a server that cannot read a block of a stream (one byte
// that turned is enough) removes the stream with all its blocks. The guard is a second name for each file, which costs no
// copy and is given up when the streams are loaded.
type guard struct {
	folder string          // of the streams
	links  string          // of their files' second names
	held   map[string]bool // the streams that are there, and whether they hold messages
}

// newGuard guards the streams of a store that no server runs on.
func newGuard(storeDir string) (*guard, error) {
	g := &guard{
		folder: filepath.Join(storeDir, server.JetStreamStoreDir, server.DEFAULT_GLOBAL_ACCOUNT, "streams"),
		links:  filepath.Join(storeDir, "guard"), held: map[string]bool{},
	}
	if err := g.putBack(); err != nil { // left by a program that was killed while it loaded
		return nil, err
	}
	entries, err := os.ReadDir(g.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the stored streams: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") { // a dot marks a deletion under way
			continue
		}
		if g.held[name], err = holdsMessages(filepath.Join(g.folder, name, "msgs")); err != nil {
			return nil, fmt.Errorf("look into the stored stream %s: %w", name, err)
		}
		if err := linkTree(filepath.Join(g.folder, name), filepath.Join(g.links, name)); err != nil {
			return nil, fmt.Errorf("guard the stored stream %s: %w", name, err)
		}
	}
	return g, nil
}

// putBack gives every stream that is gone its files again, and ends the guard.
func (g *guard) putBack() error {
	entries, err := os.ReadDir(g.links)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		stream := filepath.Join(g.folder, entry.Name())
		if _, statErr := os.Stat(stream); errors.Is(statErr, fs.ErrNotExist) {
			err = errors.Join(err, g.move(filepath.Join(g.links, entry.Name()), stream))
		}
	}
	if err != nil {
		return fmt.Errorf("put the files of the streams back from %s: %w", g.links, err)
	}
	return g.end()
}

// move moves a folder to a place below the folder of the streams. A server that removed the last stream removes the empty
// folders around it too, once and a moment later: perhaps just now.
func (g *guard) move(from, to string) (err error) {
	for range 3 {
		if err = os.MkdirAll(g.folder, 0o700); err != nil {
			continue
		}
		if err = os.Rename(from, to); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// end gives the second names up.
func (g *guard) end() error {
	if err := os.RemoveAll(g.links); err != nil {
		return fmt.Errorf("remove the guard of the streams: %w", err)
	}
	return nil
}

// linkTree makes a folder like another one, whose files are those of the other one.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		return os.Link(path, filepath.Join(to, name)) //nolint:gosec // the folder is the program's own
	})
}

// holdsMessages says whether there is anything in the block files of a folder.
func holdsMessages(folder string) (bool, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, entry := range entries {
		info, infoErr := entry.Info()
		err = errors.Join(err, infoErr)
		if infoErr == nil && filepath.Ext(entry.Name()) == ".blk" && info.Size() > 0 {
			return true, nil
		}
	}
	return false, err
}
