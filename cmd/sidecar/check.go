package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/openreplay/log-sidecar/forwarder/cloudlogging"
	"github.com/openreplay/log-sidecar/proxy"
)

// checkTimeout bounds each neighbour.
const checkTimeout = 10 * time.Second

// A finding of check: err says what is wrong and the way out; note is what there is to say where nothing is wrong.
type neighbour struct {
	name string
	try  func(ctx context.Context, c *config) (note string, err error)
}

// check validates the configuration and tries each neighbour: one line each.
func check(ctx context.Context, p process, args []string) error {
	c, warnings, err := load(args, p.environ)
	for _, w := range warnings {
		say(p.stdout, "warn", "environment", w)
	}
	if err != nil {
		return err
	}
	say(p.stdout, "ok", "configuration", "valid")
	return tryAll(ctx, p.stdout, c)
}

// say prints a line of check. status is ok, warn or FAIL, or nothing where nothing is known.
func say(out io.Writer, status, name, note string) {
	fmt.Fprintf(out, "%-5s %-14s %s\n", status, name, note)
}

func tryAll(ctx context.Context, out io.Writer, c *config) error {
	failed := false
	defer sayChain(ctx, out, c)
	defer warnLocalPages(ctx, out, c)
	for _, n := range []neighbour{
		{"app", checkApp}, {"logs", checkLogs}, {"state", checkState}, {"Cloud Logging", checkCloud},
	} {
		trying, cancel := context.WithTimeout(ctx, checkTimeout)
		note, err := n.try(trying, c)
		cancel()
		if err != nil {
			failed = true
			say(out, "FAIL", n.name, err.Error())
			continue
		}
		say(out, "ok", n.name, note)
	}
	if failed {
		return exitError(1)
	}
	return nil
}

func checkApp(ctx context.Context, c *config) (string, error) {
	for _, p := range c.Ports {
		network, addr, err := appAddress(p.App)
		if err != nil {
			return "", err
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return "", fmt.Errorf("%s does not accept connections (%w): is the app up, and --app its own port?", p.App, err)
		}
		conn.Close()
	}
	return "accepts connections", nil
}

// warnLocalPages says which pages the app shows to this machine, and so, behind the sidecar, to everyone whom --local-only
// does not keep out.
func warnLocalPages(ctx context.Context, out io.Writer, c *config) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for _, p := range c.Ports {
		network, addr, err := appAddress(p.App)
		if err != nil || strings.HasPrefix(p.App, "https:") {
			continue
		}
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}
		defer transport.CloseIdleConnections()
		for _, path := range proxy.LocalOnlyPaths() {
			if slices.Contains(c.LocalOnly, path) || !shows(ctx, transport, path) {
				continue
			}
			say(out, "warn", "local pages", path+" answers this machine; behind the sidecar every client comes from here, so it is open to the world: refuse it with --local-only")
		}
	}
}

func shows(ctx context.Context, transport http.RoundTripper, path string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return false
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode < 300
}

func appAddress(app string) (network, addr string, err error) {
	u, err := url.Parse(app)
	if err != nil {
		return "", "", err
	}
	if u.Scheme == "unix" {
		return "unix", u.Opaque + u.Path, nil
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return "tcp", net.JoinHostPort(u.Hostname(), port), nil
}

func checkLogs(_ context.Context, c *config) (string, error) {
	if len(c.Logs) == 0 {
		return "none given: no error record can be found; set --logs", nil
	}
	files := 0
	for _, glob := range c.Logs {
		if glob == "-" {
			continue
		}
		matches, err := filepath.Glob(glob)
		if err != nil {
			return "", fmt.Errorf("--logs %s is not a pattern: %w", glob, err)
		}
		for _, path := range matches {
			file, err := os.Open(path)
			if err != nil {
				return "", fmt.Errorf("%w: let this user (uid %d) read it, by the same user, or a shared group (fsGroup)", err, os.Getuid())
			}
			file.Close()
			files++
		}
	}
	if files == 0 {
		return "no file matches yet; it is picked up when it appears", nil
	}
	return fmt.Sprintf("%d readable", files), nil
}

func checkState(_ context.Context, c *config) (string, error) {
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return "", fmt.Errorf("%w: set --state to a directory that this user (uid %d) can write", err, os.Getuid())
	}
	file, err := os.CreateTemp(c.State, ".check-*")
	if err != nil {
		return "", fmt.Errorf("%w: set --state to a directory that this user (uid %d) can write", err, os.Getuid())
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if _, err := file.Write(make([]byte, 1<<20)); err != nil {
		return "", fmt.Errorf("%w: make room under --state", err)
	}
	return c.State + " can be written", nil
}

func checkCloud(ctx context.Context, c *config) (string, error) {
	if c.Sink != "cloud-logging" {
		return "not used: --sink " + c.Sink, nil
	}
	sink := cloudlogging.New(c.cloudLogging())
	defer sink.Close()
	r, err := sink.Try(ctx)
	if err != nil {
		return "", wayOut(err, r)
	}
	if r.Ahead > maxAhead || r.Ahead < -maxAhead {
		return "", fmt.Errorf("%s takes entries, but this machine's clock is %v ahead of Google's: OpenReplay's reader goes by time; let the node keep time (NTP)", r.LogName, r.Ahead)
	}
	return fmt.Sprintf("%s takes entries (tried without writing)%s", r.LogName, aside(r)), nil
}

// maxAhead is how far the clock may be off: OpenReplay's reader passes over what is stamped earlier than other pods' entries.
const maxAhead = 3 * time.Second

// aside says what else was learned.
func aside(r cloudlogging.Report) (said string) {
	if r.Account != "" {
		said += ", as " + r.Account
	}
	switch {
	case !r.ClockTold:
		said += "; the server does not tell its time"
	case r.Ahead == 0:
		said += "; the clocks agree to the second"
	default:
		said += fmt.Sprintf("; this clock is %v ahead of the server's", r.Ahead)
	}
	return said
}

// wayOut adds to what the server says what the operator can do.
func wayOut(err error, r cloudlogging.Report) error {
	message := status.Convert(err).Message()
	switch status.Code(err) {
	case codes.PermissionDenied:
		return denied(err, r)
	case codes.Unauthenticated:
		return fmt.Errorf("%s: the credentials are not accepted; look at Workload Identity or GOOGLE_APPLICATION_CREDENTIALS", message)
	case codes.NotFound, codes.InvalidArgument:
		return fmt.Errorf("%s: %s: look at --project and --log-name", r.LogName, message)
	case codes.Unavailable, codes.DeadlineExceeded:
		return fmt.Errorf("%s: is the way to logging.googleapis.com:443 (or --endpoint) open?", message)
	case codes.Unknown:
		if errors.Is(err, context.DeadlineExceeded) {
			return errors.New("no answer in time: is the way to logging.googleapis.com:443 (or --endpoint) open?")
		}
	}
	return err
}

// denied names what is missing: the API is switched off in the project, or the account lacks the role.
func denied(err error, r cloudlogging.Report) error {
	s := status.Convert(err)
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == "SERVICE_DISABLED" {
			return fmt.Errorf("%s: %s: switch the Cloud Logging API on: gcloud services enable logging.googleapis.com", r.LogName, s.Message())
		}
	}
	account := r.Account
	if account == "" {
		account = "the sidecar's account"
	}
	project := strings.Split(r.LogName, "/")[1]
	return fmt.Errorf("%s: %s: the role roles/logging.logWriter is missing (permission logging.logEntries.create): give it to %s: gcloud projects add-iam-policy-binding %s --role roles/logging.logWriter --member MEMBER",
		r.LogName, s.Message(), account, project)
}
