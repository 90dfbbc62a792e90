package main

import (
	"context"
	"errors"

	"github.com/openreplay/log-sidecar/internal/wrap"
)

// execApp runs the app as a child: sidecar exec --to DIR -- CMD ARGS... With --install it only puts this program into a
// directory, for containers whose image does not have it.
func execApp(_ context.Context, p process, args []string) error {
	usage := usageError{errors.New("exec is called like this: sidecar exec --to DIR -- CMD ARGS..., or sidecar exec --install DIR")}
	if len(args) == 2 && args[0] == "--install" {
		return wrap.Install(args[1])
	}
	if len(args) < 4 || args[0] != "--to" || args[2] != "--" {
		return usage
	}
	code, err := wrap.Run(wrap.Config{Command: args[3:], Dir: args[1], Stdin: p.stdin, Stdout: p.stdout, Stderr: p.stderr})
	if err != nil {
		return errors.Join(err, exitError(code))
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}
