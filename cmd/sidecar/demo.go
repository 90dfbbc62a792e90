package main

import (
	"context"
	"errors"
	"flag"
	"os"

	"github.com/openreplay/log-sidecar/internal/demo"
)

// runDemo shows the whole loop; with --exit it ends by itself, with 0 only if every error arrived once and under its own
// session.
func runDemo(ctx context.Context, p process, args []string) error {
	flags := flag.NewFlagSet("sidecar demo", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	exit := flags.Bool("exit", false, "end when all is shown")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	err = demo.Run(ctx, demo.Config{Program: program, Out: p.stdout, Terminal: terminal(p.stdout), Exit: *exit, Gcloud: gcloudLine})
	if errors.Is(err, demo.ErrWrong) {
		return exitError(1)
	}
	return err
}

// demoApp is the demo's legacy app: sidecar demo-app ADDR LOG.
func demoApp(ctx context.Context, _ process, args []string) error {
	if len(args) != 2 {
		return usageError{errors.New("demo-app takes an address and a log file")}
	}
	return demo.RunApp(ctx, args[0], args[1])
}
