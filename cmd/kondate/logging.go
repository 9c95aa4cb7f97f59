package main

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"kondate/eventstore/trail"
)

// LogConfig is the group log.
type LogConfig struct {
	Level  string `default:"info" enum:"debug,info,warn,error" help:"Least weight of a line in the log: debug, info, warn, error. debug has a line for each request."`
	Format string `default:"auto" enum:"auto,json,text" help:"Form of the log: json, text, or auto, which is text on a terminal and JSON elsewhere."`
}

func (c LogConfig) logger(out io.Writer) *slog.Logger {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	if c.Format == "auto" {
		return newLogger(out, levels[c.Level])
	}
	return newLoggerIn(c.Format == "text", out, levels[c.Level])
}

// levelQuiet hides everything but errors: the demo's screen is its output.
const levelQuiet = slog.LevelError

// newLogger writes text for people on a terminal and JSON elsewhere.
func newLogger(out io.Writer, level slog.Level) *slog.Logger {
	file, ok := out.(*os.File)
	return newLoggerIn(ok && term.IsTerminal(int(file.Fd())), out, level)
}

// newLoggerIn writes text or JSON. Each line says which session, dish or event it is about, and the trace.
func newLoggerIn(text bool, out io.Writer, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if text {
		return slog.New(trail.NewHandler(slog.NewTextHandler(out, options)))
	}
	return slog.New(trail.NewHandler(slog.NewJSONHandler(out, options)))
}
