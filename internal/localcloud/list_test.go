package localcloud_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"github.com/openreplay/log-sidecar/internal/localcloud"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// page fetches one page.
func (c *cloud) page(t *testing.T, req *loggingpb.ListLogEntriesRequest) (ids []string, next string, err error) {
	t.Helper()
	entries, next, err := c.ListLogEntries(t.Context(), req).InternalFetch(int(req.PageSize), req.PageToken)
	return idsOf(entries), next, err
}

func inDemo(edits ...func(*loggingpb.ListLogEntriesRequest)) *loggingpb.ListLogEntriesRequest {
	req := &loggingpb.ListLogEntriesRequest{ResourceNames: []string{"projects/demo"}}
	for _, edit := range edits {
		edit(req)
	}
	return req
}

func TestPagesJoinUpInBothOrders(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	entries := numbered(25)
	for i, e := range entries { // several of one time, told apart by insertId
		e.Timestamp.Nanos = int32(i / 10)
	}
	slices.Reverse(entries) // and written the wrong way round
	c.write(t, entries...)
	want := idsOf(entries)
	for _, order := range []string{"timestamp desc", "timestamp asc", ""} {
		if order != "timestamp desc" {
			want = slices.Sorted(slices.Values(want))
		}
		req := inDemo(func(r *loggingpb.ListLogEntriesRequest) { r.OrderBy, r.PageSize = order, 7 })
		var got, sizes []string
		for {
			ids, next, err := c.page(t, req)
			if err != nil {
				t.Fatal(err)
			}
			got, sizes = append(got, ids...), append(sizes, fmt.Sprint(len(ids)))
			if next == "" {
				break
			}
			req.PageToken = next
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", order, diff)
		}
		if diff := cmp.Diff([]string{"7", "7", "7", "4"}, sizes); diff != "" {
			t.Errorf("%q: pages: %s", order, diff)
		}
	}
}

func TestWhatIsWrittenBetweenPagesMovesNothing(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t, entry("b", noon.Add(2)), entry("d", noon.Add(4)))
	req := inDemo(func(r *loggingpb.ListLogEntriesRequest) { r.PageSize = 1 })
	first, next, err := c.page(t, req)
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, entry("a", noon.Add(1)), entry("c", noon.Add(3)))
	req.PageSize, req.PageToken = 10, next
	rest, _, err := c.page(t, req)
	if diff := cmp.Diff([]string{"b", "c", "d"}, append(first, rest...)); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestAPageHasFiftyEntriesUnlessAskedOtherwise(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t, numbered(1200)...)
	for size, want := range map[int32]int{0: 50, 1000: 1000, 3: 3} {
		ids, next, err := c.page(t, inDemo(func(r *loggingpb.ListLogEntriesRequest) { r.PageSize = size }))
		if err != nil || len(ids) != want || next == "" {
			t.Errorf("page size %d: %d entries, token %q, %v", size, len(ids), next, err)
		}
	}
}

// An answer that would be too big for a client ends early, with a token.
func TestBigEntriesMakeShorterPages(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	for i := range 50 {
		c.write(t, entry(fmt.Sprintf("%02d", i), noon, func(e *loggingpb.LogEntry) {
			e.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: strings.Repeat("x", 250_000)}
		}))
	}
	ids, next, err := c.page(t, inDemo())
	if err != nil || next == "" || len(ids) < 10 || len(ids) > 40 {
		t.Errorf("%d entries, token %q, %v", len(ids), next, err)
	}
	n := 0
	for _, err := range c.ListLogEntries(t.Context(), inDemo()).All() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 50 {
		t.Errorf("%d entries in all", n)
	}
}

func TestListingRefusesWhatTheAPIRefuses(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t, numbered(3)...)
	_, token, err := c.page(t, inDemo(func(r *loggingpb.ListLogEntriesRequest) { r.PageSize = 1 }))
	if err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*loggingpb.ListLogEntriesRequest){
		"resource_names":               func(r *loggingpb.ListLogEntriesRequest) { r.ResourceNames = nil },
		"between 1 and 100":            func(r *loggingpb.ListLogEntriesRequest) { r.ResourceNames = slices.Repeat(r.ResourceNames, 101) },
		`resource name "demo"`:         func(r *loggingpb.ListLogEntriesRequest) { r.ResourceNames = []string{"demo"} },
		"page_size 1001":               func(r *loggingpb.ListLogEntriesRequest) { r.PageSize = 1001 },
		"page_size -1":                 func(r *loggingpb.ListLogEntriesRequest) { r.PageSize = -1 },
		"order_by":                     func(r *loggingpb.ListLogEntriesRequest) { r.OrderBy = "severity" },
		"page_token is invalid":        func(r *loggingpb.ListLogEntriesRequest) { r.PageToken = "!" },
		"page_token doesn't match":     func(r *loggingpb.ListLogEntriesRequest) { r.PageToken, r.Filter = token, "severity>=ERROR" },
		"Unparseable filter":           func(r *loggingpb.ListLogEntriesRequest) { r.Filter = "severity>" },
		"Field not found: 'severety'.": func(r *loggingpb.ListLogEntriesRequest) { r.Filter = "severety>=ERROR" },
	} {
		_, _, err := c.page(t, inDemo(edit))
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func in(log string) func(*loggingpb.LogEntry) {
	return func(e *loggingpb.LogEntry) { e.LogName = log }
}

func TestOnlyTheResourcesAskedForAreRead(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t, entry("a", noon), entry("b", noon, in("projects/else/logs/app")), entry("c", noon, in("folders/7/logs/app")))
	for _, test := range []struct{ resources, want []string }{
		{[]string{"projects/demo"}, []string{"a"}},
		{[]string{"projects/else", "folders/7"}, []string{"b", "c"}},
		{[]string{"projects/demo/locations/global/buckets/_Default/views/_AllLogs"}, []string{"a"}},
		{[]string{"projects/nobody"}, []string{}},
	} {
		ids, _, err := c.page(t, &loggingpb.ListLogEntriesRequest{ResourceNames: test.resources})
		if diff := cmp.Diff(test.want, ids); err != nil || diff != "" {
			t.Error(test.resources, err, diff)
		}
	}
}

func TestLogsAreListedAndDeleted(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t, entry("a", noon), entry("b", noon, in("projects/demo/logs/a%2Fb")), entry("c", noon, in("projects/else/logs/app")))
	logs := func() []string {
		names := []string{}
		for name, err := range c.ListLogs(t.Context(), &loggingpb.ListLogsRequest{Parent: "projects/demo"}).All() {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		return names
	}
	if diff := cmp.Diff([]string{"projects/demo/logs/a%2Fb", "projects/demo/logs/app"}, logs()); diff != "" {
		t.Error(diff)
	}
	if err := c.DeleteLog(t.Context(), &loggingpb.DeleteLogRequest{LogName: testLog}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"projects/demo/logs/a%2Fb"}, logs()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"b", "c"}, c.ids(t, "")); diff != "" {
		t.Error(diff)
	}
	if err := c.DeleteLog(t.Context(), &loggingpb.DeleteLogRequest{LogName: testLog}); status.Code(err) != codes.NotFound {
		t.Errorf("the second delete: %v", err)
	}
	c.write(t, entry("a", noon)) // not a duplicate of what is gone
	if diff := cmp.Diff([]string{"a", "b", "c"}, slices.Sorted(slices.Values(c.ids(t, "")))); diff != "" {
		t.Error(diff)
	}
}

func TestLogsAndDescriptorsComeInPages(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	it := c.ListMonitoredResourceDescriptors(t.Context(), &loggingpb.ListMonitoredResourceDescriptorsRequest{})
	pager := iterator.NewPager(it, 4, "")
	var types []string
	for {
		var page []*descriptor
		token, err := pager.NextPage(&page)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			types = append(types, d.Type)
		}
		if token == "" {
			break
		}
	}
	if !slices.Contains(types, "k8s_container") || !slices.Contains(types, "generic_node") || !slices.Contains(types, "global") {
		t.Errorf("descriptors: %v", types)
	}
}

// A question by a label is answered from an index. Entries written before and
// after the index was made are found alike, in their order.
func TestLabelsAreFoundByIndex(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	const query = `labels."openReplaySession.id"="ABC" AND severity>=ERROR`
	session := func(id string) func(*loggingpb.LogEntry) { return labelled("openReplaySession.id", id) }
	c.write(t, entry("2", noon.Add(2), session("abc")), entry("other", noon, session("abcd")), entry("none", noon))
	if diff := cmp.Diff([]string{"2"}, c.ids(t, query)); diff != "" {
		t.Error(diff)
	}
	c.write(t, entry("1", noon.Add(1), session("Abc")), entry("3", noon.Add(3), session("abc")))
	if diff := cmp.Diff([]string{"1", "2", "3"}, c.ids(t, query)); diff != "" {
		t.Error(diff)
	}
}

func TestTheOldestGoWhenTheMemoryIsFull(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon, MaxBytes: 200_000})
	entries := numbered(1000)
	for _, e := range entries {
		labelled("k", "v")(e)
	}
	c.write(t, entries[500:]...)
	c.ids(t, `labels.k="v"`)     // makes the index
	c.write(t, entries[:500]...) // older, though they came later
	got := c.ids(t, "")
	if diff := cmp.Diff(got, c.ids(t, `labels.k="v"`)); diff != "" {
		t.Error(diff)
	}
	if len(got) < 300 || len(got) > 500 {
		t.Fatalf("%d entries are left", len(got))
	}
	if diff := cmp.Diff(idsOf(entries[1000-len(got):]), got); diff != "" {
		t.Error(diff)
	}
	if s := c.Stats(); s.Evicted != int64(1000-len(got)) || s.Written != 1000 {
		t.Errorf("%+v", s)
	}
}

func TestDayBoundsAndTimesOfOneNanosecond(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	midnight := noon.Truncate(24 * time.Hour)
	c.write(t, entry("before", midnight.Add(-1)), entry("at", midnight), entry("after", midnight.Add(1)))
	for filter, want := range map[string][]string{
		`timestamp>="2026-11-25"`:                                     {"at", "after"},
		`timestamp>"2026-11-25"`:                                      {"after"},
		`timestamp<="2026-11-25T00:00:00.000000000Z"`:                 {"before", "at"},
		`timestamp<"2026-11-25" OR timestamp>"2026-11-25"`:            {"before", "after"},
		`timestamp>="2026-11-25" timestamp<="2026-11-25T00:00:00Z"`:   {"at"},
		`timestamp>"2026-11-26" timestamp<"2026-11-24"`:               {},
		`NOT timestamp>="2026-11-25" AND timestamp>="2026-01-01"`:     {"before"},
		`timestamp="2026-11-25T01:00:00+01:00" AND severity >= ERROR`: {"at"},
	} {
		if diff := cmp.Diff(want, c.ids(t, filter)); diff != "" {
			t.Error(filter, diff)
		}
	}
}
