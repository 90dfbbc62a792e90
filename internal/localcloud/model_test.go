package localcloud_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"github.com/openreplay/log-sidecar/internal/localcloud"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// A store that keeps order, removes duplicates, deletes, indexes and restarts
// must answer every query as a plain list would.
func TestTheStoreAnswersLikeAPlainList(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		file, err := os.CreateTemp(dir, "")
		if err != nil {
			rt.Fatal(err)
		}
		file.Close()
		m := &model{config: localcloud.Config{Now: atNoon, File: file.Name()}}
		m.open(rt)
		defer func() { m.server.Shutdown(t.Context()) }()
		rt.Repeat(map[string]func(*rapid.T){
			"":       m.check,
			"write":  m.write,
			"delete": m.delete,
			"reopen": func(rt *rapid.T) {
				if err := m.server.Shutdown(t.Context()); err != nil {
					rt.Fatal(err)
				}
				m.open(rt)
			},
		})
	})
}

type model struct {
	config  localcloud.Config
	server  *localcloud.Server
	entries []*loggingpb.LogEntry
}

func (m *model) open(t *rapid.T) {
	server, err := localcloud.New(m.config)
	if err != nil {
		t.Fatal(err)
	}
	m.server = server
}

func (m *model) write(t *rapid.T) {
	req := &loggingpb.WriteLogEntriesRequest{}
	for range rapid.IntRange(1, 8).Draw(t, "entries") {
		e := entry(rapid.StringMatching(`[ab]`).Draw(t, "id"), noon.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "time"))), in(drawLog(t)))
		if rapid.Bool().Draw(t, "has a label") {
			labelled("session", rapid.StringMatching(`[xX1]`).Draw(t, "session"))(e)
		}
		req.Entries = append(req.Entries, e)
		m.keep(e)
	}
	if _, err := m.server.WriteForTest(t.Context(), proto.Clone(req).(*loggingpb.WriteLogEntriesRequest)); err != nil {
		t.Fatal(err)
	}
}

func drawLog(t *rapid.T) string {
	return rapid.SampledFrom([]string{"projects/p/logs/one", "projects/p/logs/two", "projects/q/logs/one"}).Draw(t, "log")
}

func identity(e *loggingpb.LogEntry) string {
	parent, _, _ := strings.Cut(e.LogName, "/logs/")
	return fmt.Sprint(parent, e.Timestamp, e.InsertId)
}

func (m *model) keep(e *loggingpb.LogEntry) {
	if !slices.ContainsFunc(m.entries, func(o *loggingpb.LogEntry) bool { return identity(o) == identity(e) }) {
		m.entries = append(m.entries, e)
	}
}

func (m *model) delete(t *rapid.T) {
	log := drawLog(t)
	m.server.DeleteForTest(t.Context(), log)
	m.entries = slices.DeleteFunc(m.entries, func(e *loggingpb.LogEntry) bool { return e.LogName == log })
}

func (m *model) check(t *rapid.T) {
	for query, matches := range map[string]func(e *loggingpb.LogEntry) bool{
		"": func(*loggingpb.LogEntry) bool { return true },
		`labels.session="x"`: func(e *loggingpb.LogEntry) bool {
			return strings.EqualFold(e.Labels["session"], "x")
		},
		`labels.session="1" AND timestamp>"2026-11-25T12:00:00Z"`: func(e *loggingpb.LogEntry) bool {
			return e.Labels["session"] == "1" && e.Timestamp.AsTime().After(noon)
		},
		`timestamp<="2026-11-25T12:00:00Z" AND log_id("one")`: func(e *loggingpb.LogEntry) bool {
			return !e.Timestamp.AsTime().After(noon) && strings.HasSuffix(e.LogName, "/one")
		},
	} {
		got, err := m.server.Entries(query)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m.shown(matches), shown(got)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

// shown is what tells entries apart, in the order of the API.
func (m *model) shown(matches func(e *loggingpb.LogEntry) bool) []string {
	var kept []*loggingpb.LogEntry
	for _, e := range m.entries {
		if matches(e) {
			kept = append(kept, e)
		}
	}
	slices.SortFunc(kept, func(a, b *loggingpb.LogEntry) int {
		return strings.Compare(orderKey(a), orderKey(b))
	})
	return shown(kept)
}

func orderKey(e *loggingpb.LogEntry) string {
	return e.Timestamp.AsTime().Format("15:04:05.000000000") + e.InsertId + e.LogName
}

func shown(entries []*loggingpb.LogEntry) []string {
	lines := []string{}
	for _, e := range entries {
		lines = append(lines, orderKey(e)+" "+e.Labels["session"])
	}
	return lines
}
