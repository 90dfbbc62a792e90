// The runtime would look every second whether the container's CPU limit has changed, and wake an idle pod for it: the limit of the
// start is kept.

//go:debug updatemaxprocs=0

// Command sidecar stands beside an unmodified app and sends its errors to Cloud Logging with the session of the user
// who met them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// A command is one word after sidecar.
type command struct {
	name, usage string
	run         func(ctx context.Context, p process, args []string) error
}

// process is what a command has of the world.
type process struct {
	stdin          *os.File
	stdout, stderr *os.File
	environ        []string
}

func commands() []command {
	return []command{
		{"run", "stand in front of the app, tail its logs, deliver", run},
		{"demo", "the whole loop on this machine, with no account", runDemo},
		{"try", "read logs, and say what would be found in them", try},
		{"check", "validate the configuration and try each neighbour", check},
		{"cloud", "the Cloud Logging stand-in alone", cloud},
		{"exec", "run the app as a child and keep a copy of what it prints: exec --to DIR -- CMD ARGS...", execApp},
		{"version", "say which build this is", version},
		{"options", "print the options as a page of Markdown, or as --json for programs", reference},
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "run" {
		allowSlack()
	}
	p := process{os.Stdin, os.Stdout, os.Stderr, os.Environ()}
	os.Exit(exitCode(p.stderr, start(p, os.Args[1:])))
}

// start runs one command. The first SIGTERM or SIGINT asks it to end in order, a second one ends it at once.
func start(p process, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		help(p.stderr)
		return nil
	}
	if args[0] == "exec" { // every signal is its child's
		return execApp(context.Background(), p, args[1:])
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-signals
		cancel()
		<-signals
		fmt.Fprintln(p.stderr, "sidecar: a second signal, ending at once")
		os.Exit(1)
	}()
	return dispatch(ctx, p, args)
}

func dispatch(ctx context.Context, p process, args []string) error {
	var names []string
	for _, c := range append(commands(), hidden()...) {
		if c.name == args[0] {
			return c.run(ctx, p, args[1:])
		}
		names = append(names, c.name)
	}
	return usageError{fmt.Errorf("unknown command %q%s; see sidecar help", args[0], didYouMean(args[0], names, ""))}
}

// hidden are the commands that others start, not people.
func hidden() []command {
	return []command{{"demo-app", "the legacy app of the demo", demoApp}}
}

func help(w io.Writer) {
	fmt.Fprint(w, "sidecar ties an unmodified app's errors to OpenReplay sessions.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  sidecar %-8s %s\n", c.name, c.usage)
	}
	fmt.Fprint(w, "\nThe options of run and check: sidecar options\n")
}

// exitError ends the program with a code, its message having been said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

func exitCode(w io.Writer, err error) int {
	var exit exitError
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &usage):
		fmt.Fprintf(w, "sidecar: %v\n", err)
		return 2
	}
	fmt.Fprintf(w, "sidecar: %v\n", err)
	return 1
}
