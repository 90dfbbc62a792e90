// Command injector adds the sidecar to Pods: as the cluster's admission webhook, and to manifests on a machine. Under the
// name kubectl-openreplay it is a plugin of kubectl.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

// A command is one word after injector.
type command struct {
	name, usage string
	run         func(ctx context.Context, p process, args []string) error
}

// process is what a command has of the world.
type process struct {
	name           string
	stdin          io.Reader
	stdout, stderr io.Writer
}

func commands() []command {
	return []command{
		{"inject", "add the sidecar to manifests: inject -f FILE|-", inject},
		{"uninject", "take it out again: uninject -f FILE|-", uninject},
		{"doctor", "say which link is broken between a pod and the replay: doctor [-n NAMESPACE] POD", doctor},
		{"serve", "answer the API server until SIGTERM", serve},
		{"check", "ask the API server, from a pod, whether a pod would get its sidecar: check --namespace NAMESPACE", check},
		{"settings", "print the annotations as a page of Markdown", settings},
		{"version", "say which build this is", version},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	p := process{"injector", os.Stdin, os.Stdout, os.Stderr}
	if filepath.Base(os.Args[0]) == "kubectl-openreplay" {
		p.name = "kubectl openreplay"
	}
	os.Exit(start(ctx, p, os.Args[1:]))
}

// start runs one command and gives the exit code: 0, 1 for what failed, 2 for what was asked wrongly.
func start(ctx context.Context, p process, args []string) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		help(p)
		return 0
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return exitCode(p, c.run(ctx, p, args[1:]))
		}
	}
	return exitCode(p, usageError{fmt.Errorf("unknown command %q; see %s help", args[0], p.name)})
}

// usageError says that the command line is wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errFailed says that the command has said itself what failed.
var errFailed = errors.New("failed")

func exitCode(p process, err error) int {
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errFailed):
		return 1
	case errors.As(err, &usage):
		fmt.Fprintf(p.stderr, "%s: %v\n", p.name, err)
		return 2
	}
	fmt.Fprintf(p.stderr, "%s: %v\n", p.name, err)
	return 1
}

func help(p process) {
	fmt.Fprintf(p.stderr, "%s adds the OpenReplay log sidecar to Pods.\n\n", p.name)
	for _, c := range commands() {
		fmt.Fprintf(p.stderr, "  %s %-9s %s\n", p.name, c.name, c.usage)
	}
	fmt.Fprintf(p.stderr, "\nThe options of a command: %s COMMAND --help\n", p.name)
}

// build is set by the linker in releases.
var build = "dev"

func version(_ context.Context, p process, _ []string) error {
	_, err := fmt.Fprintf(p.stdout, "injector %s (%s)\n", build, runtime.Version())
	return err
}
