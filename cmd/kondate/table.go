package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"kondate/domain/menu"
)

// screen draws a session: a live table on a terminal, plain lines elsewhere.
type screen struct {
	out      io.Writer
	terminal bool
	width    int // cells of the terminal
	started  time.Time
	lines    int       // of the table that stands on the terminal
	drawn    time.Time // last time the table was drawn
}

const (
	nameCells   = 22 // of a dish's name in the table
	columnCells = nameCells + 1 + menu.StageCount + 3
	// redrawEvery bounds how often the table is drawn; more is not seen.
	redrawEvery = 40 * time.Millisecond
)

// show takes the session after an event. done: this is its last state.
func (s *screen) show(session menu.Session, typ menu.Type, done bool) {
	if !s.terminal {
		s.line(session, typ)
		return
	}
	if now := time.Now(); done || now.Sub(s.drawn) >= redrawEvery {
		s.drawn = now
		s.table(session)
	}
}

// line says in one line what an event brought.
func (s *screen) line(session menu.Session, typ menu.Type) {
	fmt.Fprintf(s.out, "%6.2fs  %-26s %s\n", time.Since(s.started).Seconds(), typ, tally(session))
}

// tally says how far a session is.
func tally(s menu.Session) string {
	all := s.ItemCount * menu.StageCount
	return fmt.Sprintf("%d of %d results, %d of %d dishes finished", all-s.Unanswered(), all, s.Completed+s.Failed, s.ItemCount)
}

func (s *screen) table(session menu.Session) {
	dishes := slices.SortedFunc(maps.Values(session.Dishes), func(a, b menu.Dish) int { return cmp.Compare(a.Position, b.Position) })
	columns := max(1, s.width/columnCells)
	height := (len(dishes) + columns - 1) / columns
	lines := []string{
		"",
		fmt.Sprintf("\x1b[1m%s\x1b[0m  %s → %s", printable(session.Title), session.SourceLanguage, session.TargetLanguage),
		"a cell per stage: translation description allergen ingredient image diet reading taste",
		"● result  ◐ in part  ? unknown  ↻ again soon  ✗ failed  · waiting",
		"",
	}
	for i := range height {
		var b strings.Builder
		for j := i; j < len(dishes); j += height {
			b.WriteString(pad(printable(dishes[j].Name), nameCells))
			b.WriteByte(' ')
			for _, st := range dishes[j].Stages {
				b.WriteString(cell(st))
			}
			b.WriteString("   ")
		}
		lines = append(lines, b.String())
	}
	lines = append(lines, "", fmt.Sprintf("%s  %.2fs", tally(session), time.Since(s.started).Seconds()), "")
	if s.lines > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA", s.lines)
	}
	for _, line := range lines {
		fmt.Fprintf(s.out, "\r\x1b[2K%s\n", line)
	}
	s.lines = len(lines)
}

// cell is one stage's answer in one character.
func cell(s menu.StageState) string {
	switch s.Status {
	case "", menu.StagePending:
		return "\x1b[2m·\x1b[0m"
	case menu.StageRetrying:
		return "\x1b[33m↻\x1b[0m"
	case menu.StageParked:
		return "\x1b[31m✗\x1b[0m"
	case menu.StageStatus(menu.StatusOK):
		return "\x1b[32m●\x1b[0m"
	case menu.StageStatus(menu.StatusPartial):
		return "\x1b[36m◐\x1b[0m"
	}
	return "\x1b[35m?\x1b[0m"
}

// printable keeps what a menu printed from moving the cursor or reversing the text around it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return ' '
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, s)
}

// pad cuts or fills a text to a number of cells; a Japanese character takes two.
func pad(s string, cells int) string {
	return runewidth.FillRight(runewidth.Truncate(s, cells, "…"), cells)
}
