// Command bridge lets today's OpenReplay read the sidecars' errors out of Cloud Logging, by answering it as Elasticsearch
// would.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// A command is one word after bridge.
type command struct {
	name, usage string
	run         func(ctx context.Context, p process, args []string) error
}

// process is what a command has of the world.
type process struct{ stdout, stderr io.Writer }

func commands() []command {
	return []command{
		{"serve", "answer OpenReplay until SIGTERM", serve},
		{"check", "validate the keys and read each of their logs once", check},
		{"key", "make a line for the keys file: key ID PROJECT LOG [LOG...]", newKey},
		{"version", "say which build this is", version},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(start(ctx, process{os.Stdout, os.Stderr}, os.Args[1:]))
}

// start runs one command and gives the exit code: 0, 1 for what failed, 2 for what was asked wrongly.
func start(ctx context.Context, p process, args []string) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		help(p.stderr)
		return 0
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return exitCode(p.stderr, c.run(ctx, p, args[1:]))
		}
	}
	return exitCode(p.stderr, usageError{fmt.Errorf("unknown command %q; see bridge help", args[0])})
}

// usageError says that the command line is wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errFailed says that the command has said itself what failed.
var errFailed = errors.New("failed")

func exitCode(w io.Writer, err error) int {
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errFailed):
		return 1
	case errors.As(err, &usage):
		fmt.Fprintf(w, "bridge: %v\n", err)
		return 2
	}
	fmt.Fprintf(w, "bridge: %v\n", err)
	return 1
}

func help(w io.Writer) {
	fmt.Fprint(w, "bridge shows the errors of OpenReplay's sessions out of Cloud Logging, speaking as Elasticsearch.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  bridge %-8s %s\n", c.name, c.usage)
	}
	fmt.Fprint(w, "\nThe options of a command: bridge COMMAND --help\n")
}

// build is set by the linker in releases.
var build = "dev"

func version(_ context.Context, p process, _ []string) error {
	commit := "unknown commit"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	_, err := fmt.Fprintf(p.stdout, "bridge %s (%s, %s)\n", build, commit, runtime.Version())
	return err
}
