package enrich

import (
	"context"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/enrich/tail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	idA = "6f1c9d3e-95a1-4b9e-8f0e-0c2a54d3a111"
	idB = "0b7dd2c4-1111-4b9e-8f0e-0c2a54d3a222"
)

// exchanges is a table of a few, as the proxy would have filled it.
type exchanges []Exchange

func (e exchanges) ByID(id string, yield func(Exchange) bool) {
	for _, x := range e {
		if (x.ID == id || contains(x.IDs, id)) && !yield(x) {
			return
		}
	}
}

func (e exchanges) BySession(token string, yield func(Exchange) bool) {
	for _, x := range e {
		if x.Session == token && !yield(x) {
			return
		}
	}
}

func (e exchanges) ByAppSession(hash uint64, yield func(Exchange) bool) {
	for i := len(e) - 1; i >= 0; i-- {
		if e[i].AppSession == hash && !yield(e[i]) {
			return
		}
	}
}

func (e exchanges) ByUpstream(addr netip.AddrPort, at time.Time, yield func(Exchange) bool) {
	for i := len(e) - 1; i >= 0; i-- {
		if e[i].Upstream == addr && !e[i].Begin.After(at) && !yield(e[i]) {
			return
		}
	}
}

func (e exchanges) During(from, to time.Time, yield func(Exchange) bool) {
	for _, x := range e {
		if !x.Begin.After(to) && (x.End.IsZero() || !x.End.Before(from)) && !yield(x) {
			return
		}
	}
}

func (e exchanges) EvictedSince(time.Time) bool { return false }

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func exchange(id, session string) Exchange {
	now := time.Now()
	return Exchange{ID: id, Session: session, Method: "GET", Target: "/x", Begin: now.Add(-time.Minute), End: now.Add(-time.Second), Status: 500}
}

// join reads a log with a real tailer and gives what was found in it, as "session: first line".
func join(t *testing.T, known exchanges, log string, change func(*Config)) (found []string, j *Joiner) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{Exchanges: known, MinSeverity: record.Error, Log: zap.NewNop(), Registerer: prometheus.NewRegistry(),
		Out: func(_ context.Context, f *Finding) error {
			session := "-"
			if f.Exchange != nil {
				session = f.Exchange.Session
			}
			first, _, _ := strings.Cut(f.Record.Text, "\n")
			found = append(found, session+": "+first)
			f.Release()
			return nil
		}}
	if change != nil {
		change(&c)
	}
	j = New(c)
	logs, err := tail.New(tail.Config{Globs: []string{path}, From: tail.Beginning})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	ended, end := context.WithCancel(t.Context())
	end() // Run reads to the present end and returns
	if err := logs.Run(ended, func(b *tail.Block) error { return j.Read(t.Context(), b) }); err != nil {
		t.Fatal(err)
	}
	if err := j.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	return found, j
}

const log = `2026-11-25 10:31:07,400 INFO  [w-1] [` + idA + `] Orders - shown
2026-11-25 10:31:07,410 ERROR [w-2] [` + idA + `] Shipping - cannot ship
com.acme.OutOfStock: none left
	at com.acme.Warehouse.take(Warehouse.java:118)
2026-11-25 10:31:07,412 WARN  [w-1] [` + idB + `] Invoice - no tax number
2026-11-25 10:31:07,413 ERROR [w-1] [` + idB + `] Payment - refused
2026-11-25 10:31:07,414 ERROR [nightly] [-] Sync - away
2026-11-25 10:31:07,415 INFO  [w-1] [-] Orders - shown
`

// In a flood not every record counts as evidence; those that do not are matched all the same.
func TestAFloodOfErrorsThatNameTheirRequests(t *testing.T) {
	line := "2026-11-25 10:31:07,410 ERROR [w-2] [" + idA + "] Shipping - cannot ship\n"
	found, _ := join(t, exchanges{exchange(idA, "session-a")}, strings.Repeat(line, 2*auditedAtOnce), nil)
	if len(found) == 0 {
		t.Error("none was given out")
	}
}

func TestErrorsFindTheirSessions(t *testing.T) {
	found, j := join(t, exchanges{exchange(idA, "session-a"), exchange(idB, "session-b")}, log, nil)
	want := []string{
		"session-a: 2026-11-25 10:31:07,410 ERROR [w-2] [" + idA + "] Shipping - cannot ship",
		"session-b: 2026-11-25 10:31:07,413 ERROR [w-1] [" + idB + "] Payment - refused",
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if got := testutil.ToFloat64(j.metrics.unmatched.WithLabelValues(blind)); got != 1 {
		t.Errorf("%v records counted as %s, want the nightly one: when it was written is not known", got, blind)
	}
}

// TestAFloodOfErrorsWithIDs: beyond some a second they are not observed, and still found.
func TestAFloodOfErrorsWithIDs(t *testing.T) {
	const n = 2 * auditedAtOnce
	flood := strings.Repeat("2026-11-25 10:31:07,410 ERROR [w-2] ["+idA+"] Shipping - cannot ship\n", n)
	if found, _ := join(t, exchanges{exchange(idA, "session-a")}, flood, nil); len(found) != n {
		t.Errorf("%d of %d were found", len(found), n)
	}
}

// TestAWrongUserIsWorseThanNone: an ID that came with two sessions belongs to neither.
func TestAWrongUserIsWorseThanNone(t *testing.T) {
	found, j := join(t, exchanges{exchange(idA, "session-a"), exchange(idA, "session-b")}, log, nil)
	if len(found) != 0 {
		t.Errorf("found %q", found)
	}
	if got := testutil.ToFloat64(j.metrics.unmatched.WithLabelValues(ambiguous)); got != 1 {
		t.Errorf("%v records counted as ambiguous, want 1", got)
	}
}

func TestOthersAreForwardedOnlyWhereAsked(t *testing.T) {
	known := exchanges{exchange(idA, "")}
	found, _ := join(t, known, log, nil)
	if len(found) != 0 {
		t.Errorf("found %q without a session", found)
	}
	found, _ = join(t, known, log, func(c *Config) { c.Unmatched = true })
	if len(found) != 3 {
		t.Errorf("found %q with Unmatched, want all three errors", found)
	}
}

// TestTheLastRecordNeedsNoSuccessor: at the end what is open is complete.
func TestTheLastRecordNeedsNoSuccessor(t *testing.T) {
	found, _ := join(t, exchanges{exchange(idA, "session-a")}, "2026-11-25 10:31:07,410 ERROR ["+idA+"] Shipping - cut off here", nil)
	if len(found) != 1 {
		t.Errorf("found %q", found)
	}
}

// A log of UTF-16 is found and matched, and its entries say where in the file they stand.
func TestUTF16(t *testing.T) {
	for mark, order := range map[string]binary.AppendByteOrder{"\xff\xfe": binary.LittleEndian, "\xfe\xff": binary.BigEndian} {
		wide := []byte(mark)
		for _, unit := range utf16.Encode([]rune(strings.ReplaceAll(log, "\n", "\r\n"))) {
			wide = order.AppendUint16(wide, unit)
		}
		found, _ := join(t, exchanges{exchange(idA, "A")}, string(wide), nil)
		want := []string{"A: 2026-11-25 10:31:07,410 ERROR [w-2] [" + idA + "] Shipping - cannot ship"}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("%v (-want +got):\n%s", order, diff)
		}
	}
}

// A line of 2 MB is cut, says so in its entry, and takes nothing of the next one with it.
func TestLongLine(t *testing.T) {
	head := "2026-11-25 10:31:07,410 ERROR [w-2] [" + idA + "] Shipping - "
	var texts []string
	join(t, exchanges{exchange(idA, "A")}, head+strings.Repeat("long ", 400_000)+"\n"+head+"next\n", func(c *Config) {
		c.Out = func(_ context.Context, f *Finding) error {
			texts = append(texts, f.Record.Text)
			f.Release()
			return nil
		}
	})
	if len(texts) != 2 || texts[1] != head+"next" {
		t.Fatalf("%d records came, the last one is %.200q", len(texts), texts[len(texts)-1])
	}
	if !strings.HasPrefix(texts[0], head+"long ") || !strings.HasSuffix(texts[0], cutMark) {
		t.Errorf("the long line came as %.80q...%q", texts[0], texts[0][max(0, len(texts[0])-100):])
	}
}
