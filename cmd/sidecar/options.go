package main

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/proxy"
	"github.com/openreplay/log-sidecar/session"
	"github.com/openreplay/log-sidecar/tracker"
)

// config is everything that can be set. Its zero value is not useful: see newConfig.
type config struct {
	File            string
	RecordExchanges string

	Listen, App       string
	Ports             []port
	AppCA, AppName    string
	TLSCert, TLSKey   string
	SessionHeaders    []string
	LearnSessions     bool
	Sessions          string
	SharedSessions    string
	SessionsSize      int64
	SessionCookie     bool
	TrackerKey        string
	TrackerIngest     string
	TrackerDirect     bool
	TrackerConsent    string
	RequestIDHeader   string
	AnswerRequestID   bool
	TraceParent       bool
	ForwardedFor      bool
	KeepClientAddress bool
	ConnectionAddress bool
	LocalOnly         []string
	Logs              []string
	From              string
	Forward, Infer    string
	SilentFailures    bool
	MinSeverity       record.Severity
	Ignore            []*regexp.Regexp
	LogsRoom          int64
	FreeLogs          bool
	State             string
	Table             string
	TableSize         int64
	Health, Admin     string
	Sink              string
	Project, LogName  string
	Endpoint          string
	Plaintext         bool
	Pace              int
	Timestamp         string
	Redact            bool
	FoldRepeats       bool
	OpenReplayURL     string
	OpenReplayProject string
	K8sCluster        string
	K8sLocation       string
	K8sNamespace      string
	K8sPod            string
	K8sContainer      string
	Drain, Grace      time.Duration
}

// A port is one way into one app.
type port struct{ Listen, App string }

// An option is one thing that can be set. This is its only definition: the flag, the YAML key, the environment's name and
// the reference page all come from it.
type option struct {
	flag, yaml string // yaml "" means that it cannot stand in the file
	arg        string // what stands for the value in the reference; "" is a switch
	value      value
	usage      string
}

// environment gives the name under which the option is read from the environment.
func (o option) environment() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(o.flag, "-", "_"))
}

// A value is set once, from the source that counts: with several texts where the option may be repeated.
type value interface {
	set(texts []string) error
	text() string // the default, for the reference
	many() bool
	allowed() []string // where only some words are
}

func newConfig() *config {
	return &config{
		Listen: ":8080", App: "http://127.0.0.1:8081",
		SessionHeaders: []string{"X-OpenReplay-SessionToken"}, LearnSessions: true, SessionsSize: session.DefaultSize, RequestIDHeader: "X-Request-ID",
		LocalOnly: proxy.LocalOnlyPaths(),
		From:      "auto", Forward: "matched", Infer: "kind", SilentFailures: true, MinSeverity: record.Error,
		State: "/var/lib/openreplay-sidecar", TableSize: 16 << 20,
		Health: ":9094", Admin: "127.0.0.1:9095",
		Sink: "cloud-logging", LogName: "openreplay-errors", Pace: 50, Timestamp: "sealed",
		Redact: true, OpenReplayURL: "", Drain: 20 * time.Second,
	}
}

func (c *config) options() []option {
	return []option{
		{"config", "", "FILE", text(&c.File), "the YAML file with the keys below"},
		{"listen", "listen", "ADDR", text(&c.Listen), "where clients come in; more than one port: see `--ports`, or `ports: [{listen, app}, ...]` in the file"},
		{"ports", "", "LISTEN=URL", ports(&c.Ports), "one of several ports, in place of `--listen` and `--app`, such as `:8080=http://127.0.0.1:8081`"},
		{"app", "app", "URL", text(&c.App), "the unmodified app: `http://`, `https://` or `unix:/path`"},
		{"app-ca", "appTLS.ca", "FILE", text(&c.AppCA), "PEM file of the authorities that sign an https app's certificate"},
		{"app-server-name", "appTLS.serverName", "NAME", text(&c.AppName), "the name that an https app's certificate must have, where it is not the host of `--app`"},
		{"tls-cert", "tls.cert", "FILE", text(&c.TLSCert), "PEM certificate chain to speak TLS to clients; read again when it changes"},
		{"tls-key", "tls.key", "FILE", text(&c.TLSKey), "its private key"},
		{"logs", "logs", "GLOB", texts(&c.Logs), "the app's log files; `-` is standard input. None: no record is read"},
		{"from", "from", "WHERE", oneOf(&c.From, "auto", "beginning", "end"), "where a file is begun that no checkpoint knows; `auto`: files that are there at the first start at their end, later ones at their beginning"},
		{"logs-room", "logsRoom", "SIZE", size(&c.LogsRoom), "how much room the log files of a directory may take on the disk before a warning. Default: any"},
		{"free-logs", "freeLogs", "", flagged(&c.FreeLogs), "beyond `--logs-room`, also give back the room of what is decided of them, the oldest first: such a file keeps its size, and reads as NULs there"},
		{"forward", "forward", "WHAT", oneOf(&c.Forward, "matched", "errors"), "`matched`: error records tied to a session; `errors`: all of them, the others without the label"},
		{"min-severity", "minSeverity", "NAME", severity(&c.MinSeverity), "the lowest severity that is forwarded, in Cloud Logging's names; OpenReplay reads none below ERROR"},
		{"infer", "infer", "WHAT", oneOf(&c.Infer, "kind", "path", "nothing"), "how a record without anything exact may be matched: `kind`, by the request that it names and by how errors of its kind are known to end; `path`, by the former alone; `nothing`"},
		{"silent-failures", "silentFailures", "", flagged(&c.SilentFailures), "also send an entry for each 5xx answer of a session of which no record came"},
		{"ignore", "ignore", "PATTERN", patterns(&c.Ignore), "records that this RE2 pattern finds something in are counted and left"},
		{"state", "state", "DIR", text(&c.State), "checkpoint, journal, dead letters"},
		{"table", "table.file", "FILE", text(&c.Table), "the exchanges; best on a memory-backed path. Default: `STATE/table`"},
		{"table-size", "table.size", "SIZE", size(&c.TableSize), "how much room they have"},
		{"health", "health", "ADDR", text(&c.Health), "`/healthz`, `/readyz`, `/metrics`: open to kubelet and Prometheus, no secrets"},
		{"admin", "admin", "ADDR", text(&c.Admin), "status page, profiles, `POST /quitquitquit`: loopback only"},
		{"sink", "sink", "NAME", oneOf(&c.Sink, "cloud-logging", "stdout", "none"), "`stdout`: structured JSON for GKE's own agent; `none`: counts only, a dry run in production"},
		{"project", "cloudLogging.project", "ID", text(&c.Project), "Google Cloud project. Default: from the credentials or the metadata server"},
		{"log-name", "cloudLogging.logName", "ID", text(&c.LogName), "the log's plain ID, which is pasted into OpenReplay's integration"},
		{"endpoint", "cloudLogging.endpoint", "HOST:PORT", text(&c.Endpoint), "another server than Google's"},
		{"plaintext", "cloudLogging.plaintext", "", flagged(&c.Plaintext), "no TLS and no credentials: for the stand-in"},
		{"pace", "cloudLogging.pace", "N", number(&c.Pace), "entries a second at most, with ten seconds' worth of burst; 0: no bound. OpenReplay's reader cannot read more than 50"},
		{"timestamp", "cloudLogging.timestamp", "WHICH", oneOf(&c.Timestamp, "sealed", "event"), "`event`: the record's own time, for those who do not use OpenReplay's reader, which never looks back"},
		{"fold-repeats", "cloudLogging.foldRepeats", "", flagged(&c.FoldRepeats), "make one entry, with their number, of errors that say the same in the same session within a second; each then waits for that second"},
		{"session-header", "session.headers", "NAME", texts(&c.SessionHeaders), "the header with the session token"},
		{"learn-sessions", "session.learn", "", flagged(&c.LearnSessions), "learn from the requests with the header which session the app's own session cookie belongs to, for those without: SESSIONS.md"},
		{"sessions", "session.file", "FILE", text(&c.Sessions), "where that is kept; best on a memory-backed path. Default: `STATE/sessions`"},
		{"shared-sessions", "session.shared", "FILE", text(&c.SharedSessions), "a file with the address of a Valkey or Redis server, through which all pods share that: SESSIONS.md"},
		{"sessions-size", "session.size", "SIZE", size(&c.SessionsSize), "how much room it has: some 4,000 browsers a MiB"},
		{"session-cookie", "session.cookie", "", flagged(&c.SessionCookie), "let the answer to a request with the header set a cookie of the sidecar's own with the token, which the app never sees"},
		{"tracker-project-key", "tracker.projectKey", "KEY", text(&c.TrackerKey), "put OpenReplay's tracker, for this project, into the app's pages that have none: SESSIONS.md"},
		{"tracker-ingest", "tracker.ingest", "URL", text(&c.TrackerIngest), "OpenReplay's ingest point, such as `https://openreplay.example.com/ingest`; the tracker's calls are relayed to it under the app's own origin, below `" + tracker.IngestPath + "`"},
		{"tracker-direct", "tracker.direct", "", flagged(&c.TrackerDirect), "have the tracker that is put into pages call the ingest point itself, and relay nothing"},
		{"tracker-consent", "tracker.consent", "COOKIE", text(&c.TrackerConsent), "the tracker that is put into pages waits for this cookie of the app's, `NAME` or `NAME=VALUE`"},
		{"request-id-header", "requestID.header", "NAME", text(&c.RequestIDHeader), "kept if it came, made if not"},
		{"answer-request-id", "requestID.answer", "", flagged(&c.AnswerRequestID), "give the request ID back to the client, under the same name"},
		{"trace-parent", "requestID.traceParent", "", flagged(&c.TraceParent), "give requests that come without `traceparent` a new one, for apps that log its trace ID. Its flags are 00: a tracing agent that follows its caller records no such request"},
		{"forwarded-for", "forwardedFor", "", flagged(&c.ForwardedFor), "append the client to X-Forwarded-For"},
		{"keep-client-address", "keepClientAddress", "", flagged(&c.KeepClientAddress), "connect to the app from the client's own address, which the app then sees; needs a capability and two routing rules, see CLIENT-ADDRESS.md"},
		{"connection-address", "connectionAddress", "", flagged(&c.ConnectionAddress), "connect to the app from an address of 127.0.0.0/8 that is each connection's own: a log that names the client's address then says whose a line is. Some apps mind: see MATCHING.md"},
		{"local-only", "localOnly", "PATH", texts(&c.LocalOnly), "paths that apps show to localhost alone, and are refused because every client looks local behind a sidecar; one empty value allows all"},
		{"redact", "redact", "", flagged(&c.Redact), "mask query values, cookies and credentials in what is sent"},
		{"openreplay-url", "openreplay.url", "URL", text(&c.OpenReplayURL), "with `openreplay.project`: adds the link to the moment in the replay"},
		{"openreplay-project", "openreplay.project", "ID", text(&c.OpenReplayProject), "the project's number in OpenReplay's addresses"},
		{"k8s-cluster", "kubernetes.cluster", "NAME", text(&c.K8sCluster), "names the app's container as the entry's resource, with the next four"},
		{"k8s-location", "kubernetes.location", "NAME", text(&c.K8sLocation), "the cluster's region or zone"},
		{"k8s-namespace", "kubernetes.namespace", "NAME", text(&c.K8sNamespace), "the pod's namespace"},
		{"k8s-pod", "kubernetes.pod", "NAME", text(&c.K8sPod), "the pod's name"},
		{"k8s-container", "kubernetes.container", "NAME", text(&c.K8sContainer), "the app's container"},
		{"drain", "drain", "DURATION", duration(&c.Drain), "the longest an orderly stop may take"},
		{"record-exchanges", "", "FILE", text(&c.RecordExchanges), "also write each exchange to this file, a JSON object a line, for `sidecar try --exchanges`; it holds session tokens"},
		{"grace", "grace", "DURATION", duration(&c.Grace), "how long an orderly stop still takes new connections, for load balancers that have not heard of it; part of `--drain`"},
	}
}

// scalar is a value that is given once.
type scalar struct {
	parse func(string) error
	show  func() string
	words []string // where only some are allowed
}

func (s scalar) set(texts []string) error {
	if len(texts) != 1 {
		return fmt.Errorf("takes one value, not %d", len(texts))
	}
	return s.parse(texts[0])
}
func (s scalar) text() string      { return s.show() }
func (s scalar) many() bool        { return false }
func (s scalar) allowed() []string { return s.words }

func text(p *string) value {
	return scalar{parse: func(s string) error { *p = s; return nil }, show: func() string { return *p }}
}

func flagged(p *bool) value {
	parse := func(s string) (err error) {
		if *p, err = strconv.ParseBool(s); err != nil {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		return nil
	}
	return scalar{parse: parse, show: func() string { return strconv.FormatBool(*p) }, words: []string{"true", "false"}}
}

func number(p *int) value {
	parse := func(s string) (err error) {
		if *p, err = strconv.Atoi(s); err != nil || *p < 0 {
			return fmt.Errorf("%q is not a whole number from 0 on", s)
		}
		return nil
	}
	return scalar{parse: parse, show: func() string { return strconv.Itoa(*p) }}
}

func duration(p *time.Duration) value {
	parse := func(s string) (err error) {
		if *p, err = time.ParseDuration(s); err != nil || *p < 0 {
			return fmt.Errorf("%q is not a duration such as 20s or 1m30s", s)
		}
		return nil
	}
	return scalar{parse: parse, show: func() string { return p.String() }}
}

func severity(p *record.Severity) value {
	parse := func(s string) (err error) {
		*p, err = record.ParseSeverity(s)
		return err
	}
	return scalar{parse: parse, show: func() string { return p.String() }, words: record.Severities()}
}

func oneOf(p *string, words ...string) value {
	parse := func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("%q is not one of %s", s, strings.Join(words, ", "))
		}
		*p = s
		return nil
	}
	return scalar{parse: parse, show: func() string { return *p }, words: words}
}

var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func size(p *int64) value {
	parse := func(s string) error {
		for _, unit := range units {
			digits, ok := strings.CutSuffix(s, unit.name)
			if n, err := strconv.ParseInt(digits, 10, 32); ok && err == nil && n > 0 {
				*p = n * unit.bytes
				return nil
			}
		}
		return fmt.Errorf("%q is not a size such as 64MiB", s)
	}
	return scalar{parse: parse, show: func() string { return strconv.FormatInt(*p>>20, 10) + "MiB" }}
}

// list is a value that may be repeated.
type list struct {
	parse func([]string) error
	show  func() string
}

func (l list) set(texts []string) error { return l.parse(texts) }
func (l list) text() string             { return l.show() }
func (l list) many() bool               { return true }
func (l list) allowed() []string        { return nil }

func texts(p *[]string) value {
	parse := func(s []string) error {
		*p = nil
		for _, t := range s {
			if t != "" {
				*p = append(*p, t)
			}
		}
		return nil
	}
	return list{parse, func() string { return strings.Join(*p, ", ") }}
}

func ports(p *[]port) value {
	parse := func(s []string) error {
		*p = nil
		for _, t := range s {
			listen, app, ok := strings.Cut(t, "=")
			if !ok {
				return fmt.Errorf("%q is not like :8080=http://127.0.0.1:8081", t)
			}
			*p = append(*p, port{listen, app})
		}
		return nil
	}
	return list{parse, func() string { return "" }}
}

func patterns(p *[]*regexp.Regexp) value {
	const longest = 1000 // RE2's time grows with the pattern
	parse := func(s []string) error {
		for _, t := range s {
			if len(t) > longest {
				return fmt.Errorf("a pattern has %d bytes; %d are allowed", len(t), longest)
			}
			re, err := regexp.Compile(t)
			if err != nil {
				return err
			}
			*p = append(*p, re)
		}
		return nil
	}
	return list{parse, func() string { return "" }}
}

// validate says everything that is wrong with values that each can be parsed.
func (c *config) validate() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if len(c.Ports) == 0 {
		c.Ports = []port{{c.Listen, c.App}}
	}
	for _, p := range c.Ports {
		if err := validApp(p.App); err != nil {
			problem("app: %w", err)
		}
		if p.Listen == "" {
			problem("listen: an address is missing, such as :8080")
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		problem("tls: the certificate and its key go together; set both --tls-cert and --tls-key, or neither")
	}
	if c.Plaintext && c.Endpoint == "" {
		problem("cloudLogging.plaintext: it is for the stand-in; set --endpoint too")
	}
	if c.Plaintext && c.Project == "" && c.Sink == "cloud-logging" {
		problem("cloudLogging.project: without credentials nothing tells the project; set --project")
	}
	if strings.ContainsAny(c.LogName, "/ \t") || c.LogName == "" {
		problem("cloudLogging.logName: %q must be a plain ID, without projects/... in front", c.LogName)
	}
	if (c.OpenReplayURL == "") != (c.OpenReplayProject == "") {
		problem("openreplay: the link needs both --openreplay-url and --openreplay-project")
	}
	if c.TrackerKey != "" && c.TrackerIngest == "" {
		problem("tracker.projectKey: the tracker has to know where OpenReplay is; set --tracker-ingest")
	}
	if (c.TrackerDirect || c.TrackerConsent != "") && c.TrackerKey == "" {
		problem("tracker: --tracker-direct and --tracker-consent are for the tracker that is put into pages; set --tracker-project-key")
	}
	if len(c.SessionHeaders) == 0 {
		problem("session.headers: at least one name is needed")
	}
	return errors.Join(problems...)
}

func validApp(app string) error {
	u, err := url.Parse(app)
	switch {
	case err == nil && u.Scheme == "unix" && (u.Path != "" || u.Opaque != ""):
		return nil
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fmt.Errorf("%q must be like http://127.0.0.1:8081, https://HOST:PORT or unix:/path", app)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "":
		return fmt.Errorf("%q has a path: requests keep their own, so give scheme, host and port alone", app)
	}
	return nil
}
