// Command kondate takes in menus, runs every dish through eight stages and streams each result as it comes.
// It reads the configuration, wires the parts, runs them, and stops them in order.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// The exit codes of every command.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, environment{args: os.Args[1:], getenv: os.Getenv, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
	stop()
	os.Exit(code)
}

// environment is what a run of the program takes from the outside; tests give their own.
type environment struct {
	args   []string
	getenv func(string) string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// commandLine is the command line of the program.
type commandLine struct {
	Config string `placeholder:"FILE" help:"YAML file of settings; the variable KONDATE_CONFIG names one, too." type:"path"`

	Demo   demoCommand   `cmd:"" help:"Start everything on embedded defaults, submit a sample menu and watch the eight stages fill in."`
	Serve  serveCommand  `cmd:"" help:"Run the server: HTTP, the eight stages, the projector."`
	Submit submitCommand `cmd:"" help:"Submit a menu to a running server."`
	Watch  watchCommand  `cmd:"" help:"Follow a session's events, from its first one, until it ends."`

	Events      eventsCommand      `cmd:"" help:"Replay the history of events, or follow it: as lines of JSON, CSV or Parquet."`
	Projections projectionsCommand `cmd:"" help:"Look at the read models, rebuild them, verify them."`
	Stages      stagesCommand      `cmd:"" help:"Look at the eight stages, pause one, let it go on, try out another team's worker."`
	Failures    failuresCommand    `cmd:"" help:"List the dishes for which a stage gave up, take them back to work."`
	Keys        keysCommand        `cmd:"" help:"Make, list and revoke the API keys of auth.mode keys."`
	Access      accessCommand      `cmd:"" help:"Show who may use the HTTP server: the mode in force, the keys, what each role may do; nats: who may use NATS."`
	Archive     archiveCommand     `cmd:"" help:"Export old sessions to a file, verify it, and make room in the log."`
	Bench       benchCommand       `cmd:"" help:"Measure a server under load."`
	Doctor      doctorCommand      `cmd:"" help:"Look for what is wrong, or may go wrong: versions, durability, clocks, limits, disks, drift, lag; and say what to change."`
	Ready       readyCommand       `cmd:"" help:"Ask a running server whether it is ready."`
	Restore     restoreCommand     `cmd:"" help:"Fill a log that was lost, or that lost its end, from the copy in Postgres."`
}

// run parses the command line and runs its command. It is the whole program but for signals and the exit.
func run(ctx context.Context, env environment) int {
	file := configFile(env)
	resolver, err := loadSettings(env.getenv, file)
	if err != nil {
		return fail(env, exitUsage, err)
	}
	exited := -1
	var cli commandLine
	parser, err := kong.New(
		&cli,
		kong.Name("kondate"),
		kong.Description("A menu goes in, eight results for every dish come out, each the moment it exists.\n\n"+
			"A setting a.b_c is the flag --a-b-c, the variable KONDATE_A_B_C and the entry a: {b_c: …} of the YAML file; the flag wins over the variable, the variable over the file.\n\n"+
			"Example: kondate demo"),
		kong.Writers(env.stdout, env.stderr),
		kong.Exit(func(code int) { exited = code }), // --help exits; a library that ends the process cannot be tested
		kong.Resolvers(resolver),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(env),
	)
	if err != nil {
		return fail(env, exitFailed, err)
	}
	command, err := parser.Parse(env.args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		return fail(env, exitUsage, fmt.Errorf("%w\n(kondate --help shows the commands, kondate COMMAND --help its settings)", err))
	}
	err = command.Run()
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return exitOK
	case errors.Is(err, errUsage):
		return fail(env, exitUsage, err)
	}
	return fail(env, exitFailed, err)
}

// errUsage marks an error of the command line that a command finds.
var errUsage = errors.New("see --help")

func usage(err error) error { return fmt.Errorf("%w (%w)", err, errUsage) }

// configFile finds the file before the command line is parsed, for the parser needs its values.
func configFile(env environment) string {
	for i, arg := range env.args {
		if value, ok := strings.CutPrefix(arg, "--config="); ok {
			return value
		}
		if arg == "--config" && i+1 < len(env.args) {
			return env.args[i+1]
		}
	}
	return env.getenv(envName("config"))
}

func fail(env environment, code int, err error) int {
	fmt.Fprintf(env.stderr, "kondate: %v\n", err)
	return code
}
