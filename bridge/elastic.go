package bridge

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The shapes of Elasticsearch's answers, from its reference of the search API and of errors,
// https://www.elastic.co/docs/api/doc/elasticsearch.

// speaks is the version whose clients are answered: they refuse a server of an older major version.
const speaks = "9.0.0"

type info struct {
	Name        string  `json:"name"`
	ClusterName string  `json:"cluster_name"`
	ClusterUUID string  `json:"cluster_uuid"`
	Version     version `json:"version"`
	Tagline     string  `json:"tagline"`
}

type version struct {
	Number                           string `json:"number"`
	BuildFlavor                      string `json:"build_flavor"`
	BuildType                        string `json:"build_type"`
	BuildHash                        string `json:"build_hash"`
	BuildDate                        string `json:"build_date"`
	BuildSnapshot                    bool   `json:"build_snapshot"`
	LuceneVersion                    string `json:"lucene_version"`
	MinimumWireCompatibilityVersion  string `json:"minimum_wire_compatibility_version"`
	MinimumIndexCompatibilityVersion string `json:"minimum_index_compatibility_version"`
}

func newInfo() info {
	return info{
		Name: "openreplay-bridge", ClusterName: "cloud-logging", ClusterUUID: "openreplay-bridge",
		Version: version{Number: speaks, BuildFlavor: "default", BuildType: "bridge", BuildHash: "unknown",
			BuildDate: "2025-01-01T00:00:00Z", LuceneVersion: "10.0.0",
			MinimumWireCompatibilityVersion: "8.18.0", MinimumIndexCompatibilityVersion: "8.0.0"},
		Tagline: "The errors of OpenReplay's sessions, out of Cloud Logging",
	}
}

type result struct {
	Took     int64  `json:"took"` // milliseconds
	TimedOut bool   `json:"timed_out"`
	Shards   shards `json:"_shards"`
	Hits     hits   `json:"hits"`
}

type shards struct {
	Total      int            `json:"total"`
	Successful int            `json:"successful"`
	Skipped    int            `json:"skipped"`
	Failed     int            `json:"failed"`
	Failures   []shardFailure `json:"failures,omitempty"`
}

type shardFailure struct {
	Shard  int    `json:"shard"`
	Index  string `json:"index"`
	Reason cause  `json:"reason"`
}

type hits struct {
	Total    total            `json:"total"`
	MaxScore *float64         `json:"max_score"`
	Hits     []jsontext.Value `json:"hits"`
}

type total struct {
	Value    int    `json:"value"`
	Relation string `json:"relation"` // eq, or gte where there are at least so many
}

type cause struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}

type errorAnswer struct {
	Error  fault `json:"error"`
	Status int   `json:"status"`
}

type fault struct {
	RootCause []cause `json:"root_cause"`
	Type      string  `json:"type"`
	Reason    string  `json:"reason"`
}

// A failure is an answer that says what went wrong, to whoever asked; nothing of it is secret.
type failure struct {
	status       int
	kind, reason string
	retryAfter   time.Duration // 0: nothing is gained by waiting
}

func (f *failure) Error() string { return f.reason }

func invalid(format string, args ...any) *failure {
	return &failure{status: http.StatusBadRequest, kind: "illegal_argument_exception", reason: fmt.Sprintf(format, args...)}
}

// failed is the answer of a server that answers, but not with this session's entries: no hits, and why. OpenReplay keeps
// an answer without hits as little as an error.
func failed(f *failure) *result {
	r := found(nil, 0, false)
	r.Shards = shards{Total: 1, Failed: 1, Failures: []shardFailure{{Index: index, Reason: cause{f.kind, f.reason}}}}
	return r
}

func found(values []jsontext.Value, n int, atLeast bool) *result {
	r := &result{Shards: shards{Total: 1, Successful: 1}, Hits: hits{Total: total{n, "eq"}, Hits: values}}
	if atLeast {
		r.Hits.Total.Relation = "gte"
	}
	return r
}

// write sends v as JSON, without another copy of it in memory. The product's header is what Elastic's clients look for before they read an answer.
func write(w http.ResponseWriter, r *http.Request, status int, v any) {
	options := []json.Options{jsontext.AllowInvalidUTF8(true)} // a client's own words may be told back to it
	if r.URL.Query().Has("pretty") {
		options = append(options, jsontext.WithIndent("  "))
	}
	h := w.Header()
	h.Set("X-Elastic-Product", "Elasticsearch")
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		json.MarshalWrite(w, v, options...) // fails only where the client has gone
	}
}

// failureOf says of an error that has no words for the outside only that there was one.
func failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{status: http.StatusInternalServerError, kind: "exception", reason: "the bridge failed"}
}

func writeFailure(w http.ResponseWriter, r *http.Request, f *failure) {
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "ApiKey")
	}
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retryAfter.Seconds()))))
	}
	write(w, r, f.status, errorAnswer{fault{[]cause{{f.kind, f.reason}}, f.kind, f.reason}, f.status})
}
