package bridge_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	ltype "google.golang.org/genproto/googleapis/logging/type"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/openreplay/log-sidecar/bridge"
)

// anHourAgo is a time at which sessions of the tests are over.
func anHourAgo() time.Time { return time.Now().Add(-time.Hour).Truncate(time.Millisecond) }

func TestASessionsErrorsAsThePanelShowsThem(t *testing.T) {
	cloud := startStandIn(t)
	b := newBridge(t, bridge.Config{Cloud: cloud.cloud})
	mine, other := newSession(anHourAgo(), 1), newSession(anHourAgo(), 2)
	at := mine.Start().Add(90 * time.Second)
	cloud.write(t, theLog, entry(mine, "file-0001", at), entry(other, "file-0002", at))

	w := ask(b, "POST", searchPath, forSession(mine))
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "took")
	want := map[string]any{
		"timed_out": false,
		"_shards":   map[string]any{"total": 1., "successful": 1., "skipped": 0., "failed": 0.},
		"hits": map[string]any{
			"total": map[string]any{"value": 1., "relation": "eq"}, "max_score": nil,
			"hits": []any{map[string]any{
				"_index": "logs", "_id": "file-0001", "_score": nil,
				"_source": map[string]any{
					"@timestamp": at.UTC().Format(time.RFC3339Nano),
					"message":    "java.lang.IllegalStateException: no stock\n\tat shop.Cart.add(Cart.java:42)\nopenReplaySession.id=" + mine.String(),
					"level":      []any{"error"},
					"labels":     map[string]any{"openReplaySessionToken": "a.b.c.d", "openReplaySession.id": mine.String(), "match": "exact"},
				},
			}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if w.Code != 200 || w.Header().Get("X-Elastic-Product") != "Elasticsearch" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("status %d, header %v", w.Code, w.Header())
	}
}

// The panel goes through an answer from the top and takes it to be in the order of time.
func TestHitsAreInTheOrderOfTheRecordsOwnTimes(t *testing.T) {
	cloud := startStandIn(t)
	b := newBridge(t, bridge.Config{Cloud: cloud.cloud})
	id := newSession(anHourAgo(), 1)
	sealedAt := func(d time.Duration) func(*loggingpb.LogEntry) {
		return func(e *loggingpb.LogEntry) { e.Timestamp = timestamppb.New(id.Start().Add(d)) }
	}
	cloud.write(t, theLog,
		entry(id, "second", id.Start().Add(2*time.Second), sealedAt(10*time.Second)),
		entry(id, "first, sealed after an outage", id.Start().Add(time.Second), sealedAt(40*time.Minute)))
	want := []string{"first, sealed after an outage", "second"}
	if diff := cmp.Diff(want, searchFor(t, b, id).ids()); diff != "" {
		t.Error(diff)
	}
}

func TestEntriesOfOtherWritersAreShownAsTheyCan(t *testing.T) {
	cloud := startStandIn(t)
	id := newSession(anHourAgo(), 1)
	fields, err := structpb.NewStruct(map[string]any{"code": 7})
	if err != nil {
		t.Fatal(err)
	}
	audit := &anypb.Any{TypeUrl: "type.googleapis.com/google.cloud.audit.AuditLog"}
	mark := "openReplaySession.id=" + id.String()
	for i, test := range []struct {
		edit           func(*loggingpb.LogEntry)
		message, level string
	}{
		{func(e *loggingpb.LogEntry) {
			e.Payload, e.Severity = &loggingpb.LogEntry_TextPayload{TextPayload: "plain\n"}, ltype.LogSeverity_CRITICAL
		}, "plain\n" + mark, "error"},
		{func(e *loggingpb.LogEntry) {
			e.Payload, e.Severity = &loggingpb.LogEntry_JsonPayload{JsonPayload: fields}, ltype.LogSeverity_WARNING
		}, `{"code":7}` + "\n" + mark, "warning"},
		{func(e *loggingpb.LogEntry) {
			e.Payload, e.Severity = &loggingpb.LogEntry_TextPayload{TextPayload: "has " + mark}, ltype.LogSeverity_NOTICE
		}, "has " + mark, "info"},
		{func(e *loggingpb.LogEntry) {
			e.Payload, e.Severity = &loggingpb.LogEntry_ProtoPayload{ProtoPayload: audit}, ltype.LogSeverity_DEBUG
		}, "(an entry without text)\n" + mark, "debug"},
	} {
		cloud.write(t, theLog, entry(id, fmt.Sprint(i), id.Start().Add(time.Duration(i)*time.Second), test.edit))
		b := newBridge(t, bridge.Config{Cloud: cloud.cloud}) // without a cached answer
		hits := searchFor(t, b, id).Hits.Hits
		if len(hits) != i+1 {
			t.Fatalf("%d hits, want %d", len(hits), i+1)
		}
		if got := hits[i].Source; got.Message != test.message || !slices.Equal(got.Level, []string{test.level}) {
			t.Errorf("got %q at level %v, want %q at %s", got.Message, got.Level, test.message, test.level)
		}
	}
}

func TestWhichThousand(t *testing.T) {
	cloud := startStandIn(t)
	for _, test := range []struct {
		entries, size, hits, shown, total int
		relation, says                    string
	}{
		{entries: 1000, size: 1000, hits: 1000, shown: 1000, total: 1000, relation: "eq"},
		{entries: 2500, size: 1000, hits: 1000, shown: 999, total: 2500, relation: "eq", says: "1501 more entries of this session are not shown, all later than these."},
		{entries: 1001, size: 5000, hits: 1000, shown: 999, total: 1001, relation: "eq", says: "2 more entries"},
		{entries: 10_100, size: 1000, hits: 1000, shown: 999, total: 10000, relation: "gte", says: "At least 9001 more entries"},
		{entries: 5, size: 3, hits: 3, shown: 2, total: 5, relation: "eq", says: "3 more entries"},
		{entries: 5, size: 1, hits: 1, shown: 1, total: 5, relation: "eq"},
		{entries: 5, size: 0, hits: 0, shown: 0, total: 5, relation: "eq"},
	} {
		t.Run(fmt.Sprintf("%d of %d", test.size, test.entries), func(t *testing.T) {
			b := newBridge(t, bridge.Config{Cloud: cloud.cloud})
			id := newSession(anHourAgo(), test.entries*10000+test.size)
			entries := numbered(id, test.entries)
			cloud.write(t, theLog, entries...)
			body := strings.Replace(forSession(id), "1000", fmt.Sprint(test.size), 1)
			got := decode(t, ask(b, "POST", searchPath, body).Result())
			if got.Hits.Total.Value != test.total || got.Hits.Total.Relation != test.relation || len(got.Hits.Hits) != test.hits {
				t.Fatalf("total %+v, %d hits", got.Hits.Total, len(got.Hits.Hits))
			}
			for i, hit := range got.Hits.Hits[:test.shown] {
				if hit.ID != entries[i].InsertId {
					t.Fatalf("hit %d is %s: not the oldest", i, hit.ID)
				}
			}
			if test.says != "" {
				last, before := got.Hits.Hits[test.hits-1], got.Hits.Hits[test.hits-2]
				if !strings.HasPrefix(last.Source.Message, test.says) || last.Source.Timestamp.Before(before.Source.Timestamp) {
					t.Errorf("the last line is %+v", last.Source)
				}
			}
		})
	}
}

// The same answer is given again, cut to what each search asks for.
func TestAShortAnswerDoesNotSpoilALongOne(t *testing.T) {
	cloud := startStandIn(t)
	b := newBridge(t, bridge.Config{Cloud: cloud.cloud})
	id := newSession(anHourAgo(), 1)
	cloud.write(t, theLog, numbered(id, 4)...)
	short := decode(t, ask(b, "POST", searchPath, strings.Replace(forSession(id), "1000", "2", 1)).Result())
	if diff := cmp.Diff([]string{"e-000000", "left-out"}, short.ids()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"e-000000", "e-000001", "e-000002", "e-000003"}, searchFor(t, b, id).ids()); diff != "" {
		t.Error(diff)
	}
}

// One answer is bounded in bytes too: 1,000 entries of 200 KB would be 200 MB.
func TestVeryLongEntriesEndTheAnswerEarly(t *testing.T) {
	cloud := startStandIn(t)
	b := newBridge(t, bridge.Config{Cloud: cloud.cloud})
	id := newSession(anHourAgo(), 1)
	for _, e := range numbered(id, 60) {
		e.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: strings.Repeat("x", 200<<10)}
		cloud.write(t, theLog, e)
	}
	w := ask(b, "POST", searchPath, forSession(id))
	got := decode(t, w.Result())
	last := got.Hits.Hits[len(got.Hits.Hits)-1]
	if size := w.Body.Len(); size < 4<<20 || size > 5<<20 || got.Hits.Total.Value != 60 {
		t.Errorf("%d bytes, total %d", size, got.Hits.Total.Value)
	}
	if want := fmt.Sprintf("%d more entries", 60-len(got.Hits.Hits)+1); !strings.HasPrefix(last.Source.Message, want) {
		t.Errorf("the last line is %q, want %q", last.Source.Message, want)
	}
}

func TestTheSearchLooksFromTheSessionsStartOnward(t *testing.T) {
	cloud := startStandIn(t)
	b := newBridge(t, bridge.Config{Cloud: cloud.cloud})
	id := newSession(time.Now().Add(-80*time.Hour), 1)
	for name, at := range map[string]time.Duration{"long before": -time.Hour, "clocks differ": -time.Minute, "during": time.Minute,
		"after a weekend's outage": 70 * time.Hour, "too late": 74 * time.Hour} {
		cloud.write(t, theLog, entry(id, name, id.Start().Add(at)))
	}
	want := []string{"clocks differ", "during", "after a weekend's outage"}
	if diff := cmp.Diff(want, searchFor(t, b, id).ids()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatAClientAsksAtTheStart(t *testing.T) {
	b := newBridge(t, bridge.Config{Cloud: cloudFunc(nil)}) // a call would panic
	for _, body := range []string{`{"size": 1}`, `{"size":1,"query":{"match_all":{}}}`, ``, `{}`} {
		got := decode(t, ask(b, "POST", searchPath, body).Result())
		if got.status != 200 || len(got.Hits.Hits) != 1 || got.Hits.Hits[0].Source.Message == "" {
			t.Errorf("%s: %+v", body, got)
		}
	}
	w := ask(b, "GET", "/", "")
	var info struct{ Version struct{ Number string } }
	if err := json.Unmarshal(w.Body.Bytes(), &info); err != nil || info.Version.Number != "9.0.0" {
		t.Errorf("GET /: %v, %s", err, w.Body)
	}
	if w := ask(b, "HEAD", "/", ""); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("X-Elastic-Product") != "Elasticsearch" {
		t.Errorf("HEAD /: %d %v", w.Code, w.Header())
	}
}

func TestEverythingElseIsRefusedInElasticsearchsShape(t *testing.T) {
	b := newBridge(t, bridge.Config{Cloud: cloudFunc(nil)})
	for _, test := range []struct {
		method, path, body string
		status             int
		kind, says         string
	}{
		{"PUT", "/logs", "", 501, "unsupported_operation_exception", "searches of the index [logs]"},
		{"POST", "/logs/_doc", "{}", 501, "unsupported_operation_exception", "nothing else"},
		{"DELETE", "/logs/_search", "", 501, "unsupported_operation_exception", "nothing else"},
		{"GET", "/_cat/indices", "", 501, "unsupported_operation_exception", "nothing else"},
		{"POST", "/other/_search", "{}", 501, "unsupported_operation_exception", "[logs]"},
		{"POST", "/_bulk", "{}", 501, "unsupported_operation_exception", "nothing else"},
		{"POST", "/logs/_search", "{", 400, "parsing_exception", "not the JSON"},
		{"POST", "/logs/_search", `{"size":1,"size":2}`, 400, "parsing_exception", "not the JSON"},
		{"POST", "/logs/_search", `{"size":-1}`, 400, "illegal_argument_exception", "[size]"},
		{"POST", "/logs/_search", `{"size":"many"}`, 400, "illegal_argument_exception", `"/size" has a value of the wrong kind`},
		{"POST", "/logs/_search", `{"from":10}`, 400, "illegal_argument_exception", "[from]"},
		{"POST", "/logs/_search", `{"aggs":{}}`, 400, "illegal_argument_exception", `"/aggs" is not supported`},
		{"POST", "/logs/_search", `{"query":{"match":{"message":"x"}}}`, 400, "illegal_argument_exception", "sessions are all"},
		{"POST", "/logs/_search", `{"query":{"match_phrase":{"other":"openReplaySession.id=1"}}}`, 400, "illegal_argument_exception", "sessions are all"},
		{"POST", "/logs/_search", `{"query":{"match_phrase":{"message":"openReplaySession.id=1","x":1}}}`, 400, "illegal_argument_exception", "sessions are all"},
		{"POST", "/logs/_search", `{"query":{"match_phrase":{"message":"NullPointerException"}}}`, 400, "illegal_argument_exception", "sessions are all"},
		{"POST", "/logs/_search", `{"query":{"match_phrase":{"message":"openReplaySession.id=12x"}}}`, 400, "illegal_argument_exception", "decimal"},
		{"POST", "/logs/_search", `{"query":{"match_phrase":{"message":"openReplaySession.id=0"}}}`, 400, "illegal_argument_exception", "decimal"},
		{"POST", "/logs/_search?q=x", `{}`, 400, "illegal_argument_exception", `"q" is not supported`},
		{"POST", "/logs/_search?size=x", `{}`, 400, "illegal_argument_exception", `"size" is not`},
		{"POST", "/logs/_search", strings.Repeat(" ", 20<<10), 413, "content_too_long_exception", "16384 bytes"},
	} {
		got := decode(t, ask(b, test.method, test.path, test.body).Result())
		if got.status != test.status || got.Status != test.status || got.Error.Type != test.kind || !strings.Contains(got.Error.Reason, test.says) {
			t.Errorf("%s %s %.80s: %d %+v", test.method, test.path, test.body, got.status, got.Error)
		}
	}
}

func TestOtherWaysToWriteTheSameSearch(t *testing.T) {
	cloud := startStandIn(t)
	b := newBridge(t, bridge.Config{Cloud: cloud.cloud})
	id := newSession(anHourAgo(), 1)
	cloud.write(t, theLog, numbered(id, 2)...)
	long := fmt.Sprintf(`{"size":1000,"track_total_hits":true,"query":{"match_phrase":{"message":{"query":"openReplaySession.id=%d"}}}}`, id)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(forSession(id)))
	z.Close()
	for name, w := range map[string]reply{
		"the long form":  decode(t, ask(b, "POST", "/logs/_search", long).Result()),
		"by GET":         decode(t, ask(b, "GET", "/logs/_search?pretty&size=100", forSession(id)).Result()),
		"packed by gzip": decode(t, ask(b, "POST", searchPath, packed.String(), func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }).Result()),
	} {
		if diff := cmp.Diff([]string{"e-000000", "e-000001"}, w.ids()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestASmallBodyThatUnpacksToALargeOneIsRefused(t *testing.T) {
	b := newBridge(t, bridge.Config{Cloud: cloudFunc(nil)})
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(bytes.Repeat([]byte(" "), 10<<20))
	z.Close()
	got := decode(t, ask(b, "POST", searchPath, packed.String(), func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }).Result())
	if packed.Len() > 16<<10 || got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d bytes: %d", packed.Len(), got.status)
	}
}

func TestEachSearchLeavesALineWithoutText(t *testing.T) {
	cloud := startStandIn(t)
	core, logged := observer.New(zap.InfoLevel)
	b := newBridge(t, bridge.Config{Cloud: cloud.cloud, Log: zap.New(core)})
	id := newSession(anHourAgo(), 1)
	cloud.write(t, theLog, numbered(id, 1100)...)
	searchFor(t, b, id)
	lines := logged.FilterMessage("search").All()
	if len(lines) != 1 {
		t.Fatalf("%d lines", len(lines))
	}
	got := lines[0].ContextMap()
	delete(got, "took")
	want := map[string]any{"key": keyID, "session": id.String(), "outcome": "found", "entries": int64(999), "leftOut": int64(101)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
