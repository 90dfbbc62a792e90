package main

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/bridge"
	"github.com/openreplay/log-sidecar/internal/keypair"
)

// checkTimeout bounds each call.
const checkTimeout = 10 * time.Second

// check tries what serve would need: one line each, with the way out.
func check(ctx context.Context, p process, args []string) error {
	o, err := parse("check", args, p.stderr)
	if err != nil {
		return err
	}
	failed := false
	say := func(name, note string, err error) {
		if err != nil {
			failed = true
			fmt.Fprintf(p.stdout, "FAIL  %-13s %v\n", name, err)
			return
		}
		fmt.Fprintf(p.stdout, "ok    %-13s %s\n", name, note)
	}
	keys, err := bridge.LoadKeys(o.keys, zap.NewNop())
	say("keys", o.keys, err)
	if o.tlsCert != "" {
		_, err := keypair.New(o.tlsCert, o.tlsKey, zap.NewNop())
		if err != nil {
			err = badPair(err)
		}
		say("certificate", o.tlsCert, err)
	}
	if keys != nil {
		checkCloud(ctx, o, keys.Sources(), say)
	}
	if failed {
		return errFailed
	}
	return nil
}

func checkCloud(ctx context.Context, o options, sources []bridge.Source, say func(name, note string, err error)) {
	cloud, err := bridge.Connect(ctx, o.endpoint, o.plaintext)
	if err != nil {
		say("Cloud Logging", "", err)
		return
	}
	defer cloud.Close()
	for _, source := range sources {
		trying, cancel := context.WithTimeout(ctx, checkTimeout)
		note, err := bridge.Check(trying, cloud, source)
		cancel()
		if err != nil {
			err = fmt.Errorf("%s, %s: %w", source.Project, source.Logs, err)
		}
		say("Cloud Logging", source.Project+", "+source.Logs+": "+note, err)
	}
}

// newKey prints a line for the keys file, and what to enter in OpenReplay.
func newKey(_ context.Context, p process, args []string) error {
	if len(args) < 3 {
		return usageError{fmt.Errorf("key needs ID PROJECT LOG [LOG...]")}
	}
	line, err := bridge.NewKey(args[0], args[1], args[2:]...)
	if err != nil {
		return usageError{err}
	}
	_, err = fmt.Fprintln(p.stdout, line)
	return err
}
