package localcloud_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"github.com/openreplay/log-sidecar/internal/localcloud"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (c *cloud) send(t *testing.T, req *loggingpb.WriteLogEntriesRequest) error {
	t.Helper()
	_, err := c.WriteLogEntries(t.Context(), req)
	return err
}

func TestTheRequestsDefaultsReachTheEntriesThatLackThem(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	node := &monitoredres.MonitoredResource{Type: "generic_node", Labels: map[string]string{"node_id": "n1"}}
	err := c.send(t, &loggingpb.WriteLogEntriesRequest{
		LogName: "projects/demo/logs/default", Resource: node, Labels: map[string]string{"a": "request", "b": "request"},
		Entries: []*loggingpb.LogEntry{
			{InsertId: "bare", Timestamp: timestamppb.New(noon), Payload: &loggingpb.LogEntry_TextPayload{TextPayload: "x"}},
			entry("full", noon, labelled("a", "own")),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []*loggingpb.LogEntry{
		{
			LogName: "projects/demo/logs/default", Resource: node, InsertId: "bare", Labels: map[string]string{"a": "request", "b": "request"},
			Timestamp: timestamppb.New(noon), ReceiveTimestamp: timestamppb.New(noon), Payload: &loggingpb.LogEntry_TextPayload{TextPayload: "x"},
		},
		entry("full", noon, labelled("a", "own"), labelled("b", "request"), func(e *loggingpb.LogEntry) { e.ReceiveTimestamp = timestamppb.New(noon) }),
	}
	got, err := c.Entries("")
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestEntriesWithoutTimeOrIDGetThemInTheirOrder(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	var entries []*loggingpb.LogEntry
	for i := range 20 {
		entries = append(entries, entry("", noon, func(e *loggingpb.LogEntry) {
			e.Timestamp, e.Payload = nil, &loggingpb.LogEntry_TextPayload{TextPayload: fmt.Sprint(i)}
		}))
	}
	c.write(t, entries...)
	got, err := c.Entries("")
	if err != nil || len(got) != 20 {
		t.Fatal(len(got), err)
	}
	for i, e := range got {
		if e.GetTextPayload() != fmt.Sprint(i) || !e.Timestamp.AsTime().Equal(noon) || e.InsertId == "" {
			t.Errorf("entry %d is %v", i, e)
		}
	}
}

func TestReceiveTimestampIsTheServicesAlone(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t, entry("a", noon, func(e *loggingpb.LogEntry) { e.ReceiveTimestamp = timestamppb.New(noon.Add(-3*time.Hour + 5)) }))
	got, _ := c.Entries("")
	if at := got[0].ReceiveTimestamp.AsTime(); !at.Equal(noon) {
		t.Errorf("received at %v", at)
	}
}

func TestTheSameProjectTimestampAndInsertIDIsOneEntry(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	in := func(log string) func(*loggingpb.LogEntry) {
		return func(e *loggingpb.LogEntry) { e.LogName = log }
	}
	c.write(t, entry("a", noon), entry("a", noon))
	c.write(t, entry("a", noon), entry("b", noon), entry("a", noon.Add(1)),
		entry("a", noon, in("projects/demo/logs/another")), entry("a", noon, in("projects/else/logs/app")))
	if diff := cmp.Diff([]string{"a", "a", "b", "a"}, c.ids(t, "")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(localcloud.Stats{Requests: 2, Written: 4, Duplicates: 3}, c.Stats()); diff != "" {
		t.Error(diff)
	}
}

// What the documentation refuses is refused, each in a request of its own.
func TestLimits(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	text := func(n int) func(*loggingpb.LogEntry) {
		return func(e *loggingpb.LogEntry) {
			e.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: strings.Repeat("x", n)}
		}
	}
	labels := func(n int) func(*loggingpb.LogEntry) {
		return func(e *loggingpb.LogEntry) {
			for i := range n {
				labelled(fmt.Sprint("k", i), "v")(e)
			}
		}
	}
	log := func(name string) func(*loggingpb.LogEntry) {
		return func(e *loggingpb.LogEntry) { e.LogName = name }
	}
	for name, c2 := range map[string]struct {
		edit func(*loggingpb.LogEntry)
		at   time.Time
		want string // "" for accepted
	}{
		"250 KiB":             {edit: text(250 << 10)},
		"257 KiB":             {edit: text(257 << 10), want: "Log entry with size 257.1K exceeds maximum size of 256.0K"},
		"64 labels":           {edit: labels(64)},
		"65 labels":           {edit: labels(65), want: "65 labels"},
		"23 h ahead":          {at: noon.Add(23 * time.Hour)},
		"25 h ahead":          {at: noon.Add(25 * time.Hour), want: "more than 24 hours in the future"},
		"no payload":          {edit: func(e *loggingpb.LogEntry) { e.Payload = nil }, want: "no payload"},
		"no resource":         {edit: func(e *loggingpb.LogEntry) { e.Resource = nil }, want: "no monitored resource"},
		"invalid time":        {edit: func(e *loggingpb.LogEntry) { e.Timestamp.Nanos = -1 }, want: "invalid timestamp"},
		"no log name":         {edit: log(""), want: "not of the form"},
		"short log name":      {edit: log("app"), want: "not of the form"},
		"slash not encoded":   {edit: log("projects/demo/logs/a/b"), want: "not of the form"},
		"slash encoded":       {edit: log("projects/demo/logs/a%2Fb")},
		"blank in log name":   {edit: log("projects/demo/logs/a b"), want: "illegal log ID"},
		"511 in log name":     {edit: log("projects/demo/logs/" + strings.Repeat("a", 511))},
		"512 in log name":     {edit: log("projects/demo/logs/" + strings.Repeat("a", 512)), want: "illegal log ID"},
		"folder":              {edit: log("folders/12/logs/app")},
		"leading slash":       {edit: log("/projects/demo/logs/slashed")},
		"strange parent kind": {edit: log("planets/mars/logs/app"), want: "not of the form"},
	} {
		at := c2.at
		if at.IsZero() {
			at = noon
		}
		e := entry("limit "+name, at)
		if c2.edit != nil {
			c2.edit(e)
		}
		err := c.send(t, &loggingpb.WriteLogEntriesRequest{Entries: []*loggingpb.LogEntry{e}})
		if c2.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c2.want != "" && (status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c2.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff([]string{"limit leading slash"}, c.ids(t, `logName="projects/demo/logs/slashed"`)); diff != "" {
		t.Error(diff)
	}
}

func TestARequestOfMoreThanTenMebibytesIsRefusedWhole(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	req := &loggingpb.WriteLogEntriesRequest{PartialSuccess: true}
	for i := range 60 {
		req.Entries = append(req.Entries, entry(fmt.Sprint(i), noon, func(e *loggingpb.LogEntry) {
			e.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: strings.Repeat("x", 200_000)}
		}))
	}
	err := c.send(t, req)
	if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "Request payload size exceeds the limit: 10485760 bytes." {
		t.Error(err)
	}
	if got := c.ids(t, ""); len(got) != 0 {
		t.Errorf("%d entries were written", len(got))
	}
}

func TestLabelsThatAreTooLongAreCutAndMarked(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t, entry("a", noon, labelled(strings.Repeat("k", 600), "v"), labelled("long", strings.Repeat("ä", 40_000)), labelled("short", "v")))
	got, _ := c.Entries("")
	labels := got[0].Labels
	if len(labels) != 3 || labels[strings.Repeat("k", 509)+"…"] != "v" || labels["short"] != "v" {
		t.Errorf("%d labels", len(labels))
	}
	if v := labels["long"]; len(v) > 64<<10 || !strings.HasSuffix(v, "ä…") {
		t.Errorf("the value has %d bytes and ends in %q", len(v), v[len(v)-8:])
	}
}

func TestEntriesOlderThanTheRetentionAreTakenAndNeverListed(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t, entry("29 days", noon.AddDate(0, 0, -29)), entry("31 days", noon.AddDate(0, 0, -31)))
	if diff := cmp.Diff([]string{"29 days"}, c.ids(t, "")); diff != "" {
		t.Error(diff)
	}
	if got := c.Stats().Expired; got != 1 {
		t.Errorf("%d expired", got)
	}
}

func withoutPayload(e *loggingpb.LogEntry) { e.Payload = nil }

func TestWithoutPartialSuccessOneBadEntryStopsAll(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	err := c.send(t, &loggingpb.WriteLogEntriesRequest{Entries: []*loggingpb.LogEntry{entry("good", noon), entry("bad", noon, withoutPayload)}})
	if st := status.Convert(err); st.Code() != codes.InvalidArgument || len(st.Details()) != 0 {
		t.Error(err)
	}
	if diff := cmp.Diff(localcloud.Stats{Requests: 1, Refused: 2}, c.Stats()); diff != "" {
		t.Error(diff)
	}
}

func TestPartialSuccessNamesTheBadEntriesByIndex(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	err := c.send(t, &loggingpb.WriteLogEntriesRequest{PartialSuccess: true, Entries: []*loggingpb.LogEntry{
		entry("a", noon), entry("b", noon, withoutPayload), entry("c", noon), entry("d", noon.Add(48*time.Hour)),
	}})
	if diff := cmp.Diff(map[int32]codes.Code{1: codes.InvalidArgument, 3: codes.InvalidArgument}, failedIndices(t, err)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "c"}, c.ids(t, "")); diff != "" {
		t.Error(diff)
	}
}

// failedIndices reads the details of a partial success.
func failedIndices(t *testing.T, err error) map[int32]codes.Code {
	t.Helper()
	st := status.Convert(err)
	if len(st.Details()) != 1 {
		t.Fatalf("no details in %v", err)
	}
	details, ok := st.Details()[0].(*loggingpb.WriteLogEntriesPartialErrors)
	if !ok {
		t.Fatalf("details are %T", st.Details()[0])
	}
	failed := map[int32]codes.Code{}
	for i, s := range details.LogEntryErrors {
		failed[i] = codes.Code(s.Code)
	}
	return failed
}

// Documented: "Failed requests for which no entries are written will not
// include per-entry errors".
func TestWhereNothingIsWrittenNoIndexIsNamed(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	err := c.send(t, &loggingpb.WriteLogEntriesRequest{PartialSuccess: true, Entries: []*loggingpb.LogEntry{
		entry("a", noon, withoutPayload), entry("b", noon, withoutPayload),
	}})
	if st := status.Convert(err); st.Code() != codes.InvalidArgument || len(st.Details()) != 0 {
		t.Error(err)
	}
}

func TestADryRunChecksAndKeepsNothing(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	if err := c.send(t, &loggingpb.WriteLogEntriesRequest{DryRun: true, Entries: []*loggingpb.LogEntry{entry("a", noon)}}); err != nil {
		t.Error(err)
	}
	err := c.send(t, &loggingpb.WriteLogEntriesRequest{DryRun: true, Entries: []*loggingpb.LogEntry{entry("a", noon, withoutPayload)}})
	if status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
	if got := c.ids(t, ""); len(got) != 0 {
		t.Errorf("kept %v", got)
	}
}

// once sends without the client's own retries.
func once(t *testing.T, c *cloud, e *loggingpb.LogEntry) error {
	t.Helper()
	_, err := c.WriteLogEntries(t.Context(), &loggingpb.WriteLogEntriesRequest{Entries: []*loggingpb.LogEntry{e}}, noRetry)
	return err
}

func TestATestCanRefuseWithAnyCode(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		c.Interpose(func(context.Context, *loggingpb.WriteLogEntriesRequest, func() (*loggingpb.WriteLogEntriesResponse, error)) (*loggingpb.WriteLogEntriesResponse, error) {
			return nil, status.Error(code, "not today")
		})
		if err := once(t, c, entry("a", noon)); status.Code(err) != code {
			t.Errorf("%v instead of %v", err, code)
		}
	}
	c.Interpose(nil)
	if err := once(t, c, entry("a", noon)); err != nil {
		t.Error(err)
	}
}

func TestATestCanLoseAnAnswer(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.Interpose(func(_ context.Context, _ *loggingpb.WriteLogEntriesRequest, apply func() (*loggingpb.WriteLogEntriesResponse, error)) (*loggingpb.WriteLogEntriesResponse, error) {
		_, err := apply()
		return nil, errors.Join(err, status.Error(codes.Unavailable, "the answer is lost"))
	})
	if err := once(t, c, entry("a", noon)); err == nil {
		t.Error("an answer came through")
	}
	c.Interpose(nil)
	c.write(t, entry("a", noon))
	if diff := cmp.Diff(localcloud.Stats{Requests: 2, Written: 1, Duplicates: 1}, c.Stats()); diff != "" {
		t.Error(diff)
	}
}

func TestATestCanTakeEntriesOutOfARequest(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.Interpose(func(_ context.Context, req *loggingpb.WriteLogEntriesRequest, apply func() (*loggingpb.WriteLogEntriesResponse, error)) (*loggingpb.WriteLogEntriesResponse, error) {
		req.Entries = req.Entries[:1]
		return apply()
	})
	c.write(t, numbered(3)...)
	if diff := cmp.Diff([]string{"id-000000"}, c.ids(t, "")); diff != "" {
		t.Error(diff)
	}
}
