package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"time"

	"github.com/openreplay/log-sidecar/internal/localcloud"
)

// cloud serves the Cloud Logging stand-in until it is told to end.
func cloud(ctx context.Context, p process, args []string) error {
	flags := flag.NewFlagSet("sidecar cloud", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	listen := flags.String("listen", "127.0.0.1:8085", "`ADDR` for gRPC and REST")
	file := flags.String("file", "", "`FILE` that keeps the entries over a restart; none: they are in memory alone")
	bytes := int64(256 << 20)
	limit := size(&bytes)
	flags.Func("memory", "`SIZE` of entries kept; the oldest go first (default 256MiB)", func(s string) error { return limit.set([]string{s}) })
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	server, err := localcloud.New(localcloud.Config{MaxBytes: bytes, File: *file})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("%w: choose another address with --listen", err)
	}
	fmt.Fprintf(p.stdout, "Cloud Logging stand-in on %s\n  %s\n", listener.Addr(), gcloudLine(listener.Addr().String(), "PROJECT", ""))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(stop)
}

// gcloudLine is a line to paste that reads from the stand-in.
func gcloudLine(addr, project, filter string) string {
	return fmt.Sprintf("CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING=http://%s/ gcloud logging read '%s' --project %s", addr, filter, project)
}
