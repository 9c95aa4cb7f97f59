package main

import (
	"io/fs"
	"os"
	"slices"
)

// watched are files that somebody may replace. A change stays one until take says that it is in force: what could not be
// read, or not be used, is tried again at the next look.
type watched struct {
	paths []string

	seen, taken []fs.FileInfo // of each path, at the last look and when take was called; nil: it was not there
	told        string        // the last error that was news
}

// changed looks at the files, and says whether they are others than those that were taken.
func (w *watched) changed() bool {
	w.seen = make([]fs.FileInfo, len(w.paths))
	for i, path := range w.paths {
		if info, err := os.Stat(path); err == nil {
			w.seen[i] = info
		}
	}
	if !slices.EqualFunc(w.taken, w.seen, sameContent) {
		return true
	}
	w.told = "" // also when the old ones were put back
	return false
}

// take says that the files are in force as changed saw them.
func (w *watched) take() { w.taken, w.told = w.seen, "" }

// news says whether an error with the files is another one than the last: the same need not be told at every look.
func (w *watched) news(err error) bool {
	if err.Error() == w.told {
		return false
	}
	w.told = err.Error()
	return true
}

func sameContent(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}
