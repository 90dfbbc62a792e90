package bridge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/openreplay/log-sidecar/bridge"
	"github.com/openreplay/log-sidecar/internal/localcloud/lql"
	"github.com/openreplay/log-sidecar/session"
)

// inBubble runs f in a bubble of time that begins in 2026: one of synctest begins before OpenReplay's first session.
func inBubble(t *testing.T, f func(*testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)))
		f(t)
	})
}

var sessionIDs = regexp.MustCompile(`"[0-9]+"`)

// A fakeCloud has some entries, finds them by session, and notes when it was called.
type fakeCloud struct {
	takes time.Duration // an answer
	fails error

	mu      sync.Mutex
	entries []*loggingpb.LogEntry
	calls   []time.Time
}

func (c *fakeCloud) List(ctx context.Context, r *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error) {
	c.mu.Lock()
	c.calls = append(c.calls, time.Now())
	err := c.fails
	c.mu.Unlock()
	select {
	case <-time.After(c.takes):
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if err != nil {
		return nil, err
	}
	return c.page(r)
}

func (c *fakeCloud) page(r *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error) {
	if _, err := lql.Parse(r.Filter); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	wanted := map[string]bool{} // Match would look at the times too, at a price
	for _, id := range sessionIDs.FindAllString(r.Filter, -1) {
		wanted[strings.Trim(id, `"`)] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var matching []*loggingpb.LogEntry
	for _, e := range c.entries {
		if wanted[e.Labels["openReplaySession.id"]] {
			matching = append(matching, e)
		}
	}
	if r.OrderBy == "timestamp desc" {
		slices.Reverse(matching)
	}
	var from int
	fmt.Sscan(r.PageToken, &from)
	to := min(from+int(r.PageSize), len(matching))
	answer := &loggingpb.ListLogEntriesResponse{Entries: matching[from:to]}
	if to < len(matching) {
		answer.NextPageToken = fmt.Sprint(to)
	}
	return answer, nil
}

func (c *fakeCloud) set(err error, entries ...*loggingpb.LogEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails = err
	c.entries = append(c.entries, entries...)
}

func (c *fakeCloud) called() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

// mostInAMinute is the largest number of calls in any 60 s, as the quota counts them.
func (c *fakeCloud) mostInAMinute() (most int) {
	for i, end := range c.calls {
		n := 0
		for _, at := range c.calls[:i+1] {
			if end.Sub(at) < time.Minute {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// OpenReplay keeps the first answer with hits for ever: one that may not be all is not given.
func TestASessionIsShownWhenNothingMoreArrives(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{}
		b := newBridge(t, bridge.Config{Cloud: cloud, Settle: time.Minute})
		id := newSession(time.Now(), 1)
		sealed := func(insertID string) { // an entry is dated a second later
			cloud.set(nil, entry(id, insertID, time.Now().Add(-time.Second)))
		}
		if got := searchFor(t, b, id); got.status != 200 || len(got.Hits.Hits) != 0 || got.Shards.Failed != 0 {
			t.Errorf("before the first entry: %+v", got)
		}
		time.Sleep(20 * time.Second)
		sealed("first")
		time.Sleep(50 * time.Second)
		got := searchFor(t, b, id)
		if got.status != 200 || len(got.Hits.Hits) != 0 || got.Shards.Failed != 1 {
			t.Fatalf("50 s after an entry: %+v", got)
		}
		if r := got.Shards.Failures[0].Reason; r.Type != "session_not_settled_exception" || !strings.Contains(r.Reason, "ask again in 10s") {
			t.Errorf("why: %+v", r)
		}
		time.Sleep(5 * time.Second)
		sealed("second")
		time.Sleep(5 * time.Second)
		if got := searchFor(t, b, id); len(got.Hits.Hits) != 0 {
			t.Errorf("60 s after the first entry and 5 s after the second: %v", got.ids())
		}
		time.Sleep(55 * time.Second)
		if diff := cmp.Diff([]string{"first", "second"}, searchFor(t, b, id).ids()); diff != "" {
			t.Errorf("60 s after the last entry: %s", diff)
		}
	})
}

func TestAPodWhoseClockIsAheadHoldsNothingBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{}
		b := newBridge(t, bridge.Config{Cloud: cloud, Settle: time.Minute})
		id := newSession(time.Now(), 1)
		cloud.set(nil, entry(id, "of tomorrow", time.Now().Add(20*time.Hour), func(e *loggingpb.LogEntry) {
			e.ReceiveTimestamp = timestamppb.Now()
		}))
		time.Sleep(59 * time.Second)
		if got := searchFor(t, b, id); len(got.Hits.Hits) != 0 {
			t.Errorf("59 s after it came: %v", got.ids())
		}
		time.Sleep(2 * time.Second)
		if diff := cmp.Diff([]string{"of tomorrow"}, searchFor(t, b, id).ids()); diff != "" {
			t.Errorf("61 s after it came: %s", diff)
		}
	})
}

func TestWithoutSettleASessionIsShownAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{}
		b := newBridge(t, bridge.Config{Cloud: cloud})
		id := newSession(time.Now(), 1)
		cloud.set(nil, entry(id, "now", time.Now().Add(-time.Second)))
		if diff := cmp.Diff([]string{"now"}, searchFor(t, b, id).ids()); diff != "" {
			t.Error(diff)
		}
	})
}

// Its first 10,000 entries are old, but it goes on.
func TestAVeryLongSessionThatGoesOnIsNotShown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{}
		b := newBridge(t, bridge.Config{Cloud: cloud, Settle: time.Minute})
		id := newSession(time.Now().Add(-time.Hour), 1)
		cloud.set(nil, numbered(id, 11000)...)
		cloud.set(nil, entry(id, "last", time.Now().Add(-11*time.Second)))
		if got := searchFor(t, b, id); len(got.Hits.Hits) != 0 || got.Shards.Failed != 1 {
			t.Errorf("10 s after the last entry: %d hits", len(got.Hits.Hits))
		}
		time.Sleep(time.Minute)
		if got := searchFor(t, b, id); len(got.Hits.Hits) != 1000 {
			t.Errorf("70 s after the last entry: %d hits", len(got.Hits.Hits))
		}
	})
}

func TestEqualSearchesShareACall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{takes: 3 * time.Second}
		b := newBridge(t, bridge.Config{Cloud: cloud})
		id := newSession(anHourAgo(), 1)
		cloud.set(nil, entry(id, "one", id.Start()))
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if diff := cmp.Diff([]string{"one"}, searchFor(t, b, id).ids()); diff != "" {
					t.Error(diff)
				}
			})
		}
		all.Wait()
		time.Sleep(9 * time.Second)
		searchFor(t, b, id)
		if got := cloud.called(); got != 1 {
			t.Errorf("%d calls for equal searches within 10 s", got)
		}
		time.Sleep(2 * time.Second)
		searchFor(t, b, id)
		if got := cloud.called(); got != 2 {
			t.Errorf("%d calls in all, want a second one later on", got)
		}
	})
}

func TestNothingIsNotKeptForLong(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{}
		b := newBridge(t, bridge.Config{Cloud: cloud})
		id := newSession(anHourAgo(), 1)
		searchFor(t, b, id)
		cloud.set(nil, entry(id, "one", id.Start()))
		time.Sleep(4 * time.Second)
		if diff := cmp.Diff([]string{"one"}, searchFor(t, b, id).ids()); diff != "" {
			t.Error(diff)
		}
	})
}

// Somebody who closes the panel does not take the answer from others who wait for it.
func TestAClientThatLeavesLeavesTheReadToOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{takes: 3 * time.Second}
		b := newBridge(t, bridge.Config{Cloud: cloud})
		id := newSession(anHourAgo(), 1)
		cloud.set(nil, entry(id, "one", id.Start()))
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			searchFor(t, b, id, func(r *http.Request) { *r = *r.WithContext(ctx) })
		})
		synctest.Wait()
		leave()
		all.Wait()
		if diff := cmp.Diff([]string{"one"}, searchFor(t, b, id).ids()); diff != "" || cloud.called() != 1 {
			t.Errorf("%d calls, %s", cloud.called(), diff)
		}
	})
}

// 200 people open 200 sessions at once: all get their own, and Google's 60 calls a minute are enough.
func TestManySessionsAtOnceFitIntoTheQuota(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{takes: 100 * time.Millisecond}
		b := newBridge(t, bridge.Config{Cloud: cloud, Quota: 60})
		start := anHourAgo()
		for i := range 400 {
			id := newSession(start.Add(time.Duration(i)*time.Minute), i)
			cloud.set(nil, entry(id, fmt.Sprint("only-", i), id.Start()))
		}
		for range 3 { // and again, while the quota is still low
			begin := time.Now()
			var all sync.WaitGroup
			for i := range 400 {
				all.Go(func() {
					id := newSession(start.Add(time.Duration(i)*time.Minute), i)
					if got := searchFor(t, b, id); !slices.Equal(got.ids(), []string{fmt.Sprint("only-", i)}) {
						t.Errorf("session %d: %+v", i, got)
					}
				})
			}
			all.Wait()
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("the last was answered after %v", took)
			}
			time.Sleep(20 * time.Second)
		}
		if most := cloud.mostInAMinute(); most > 60 {
			t.Errorf("%d calls in a minute", most)
		}
	})
}

// Sessions that share a call are told apart also where one of them has more entries than the call brings.
func TestALongSessionHidesNothingOfOthersInItsCall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{}
		b := newBridge(t, bridge.Config{Cloud: cloud, Quota: 200})
		start := anHourAgo()
		long, short := newSession(start, 1), newSession(start.Add(time.Minute), 2)
		cloud.set(nil, numbered(long, 10_500)...)
		cloud.set(nil, entry(short, "short", short.Start()))
		for i := range 100 { // use up what is free
			searchFor(t, b, newSession(start, 100+i))
		}
		before := cloud.called()
		var all sync.WaitGroup
		for id, want := range map[session.ID]int{long: 1000, short: 1} {
			all.Go(func() {
				if got := searchFor(t, b, id); len(got.Hits.Hits) != want {
					t.Errorf("%d hits, want %d: %+v", len(got.Hits.Hits), want, got.Error)
				}
			})
		}
		all.Wait()
		// Ten pages together, ten and the last entry of the long one, one of the short one.
		if got := cloud.called() - before; got != 22 {
			t.Errorf("%d calls, want 22: were they not asked together?", got)
		}
	})
}

// Where the quota ends in the middle, what came is shown, and that it is not all.
func TestTheQuotaEndsWithinASession(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{}
		b := newBridge(t, bridge.Config{Cloud: cloud, Quota: 8, Settle: time.Minute})
		id := newSession(anHourAgo(), 1)
		cloud.set(nil, numbered(id, 6000)...)
		got := searchFor(t, b, id) // four calls are free: a page, the last entry, two pages
		if got.Hits.Total.Relation != "gte" || got.Hits.Total.Value != 3000 || len(got.Hits.Hits) != 1000 {
			t.Fatalf("total %+v, %d hits, %+v", got.Hits.Total, len(got.Hits.Hits), got.Error)
		}
		if last := got.Hits.Hits[999].Source.Message; !strings.HasPrefix(last, "At least 2001 more entries") {
			t.Errorf("the last line is %q", last)
		}
	})
}

func TestLargeAnswersAreNotKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{}
		b := newBridge(t, bridge.Config{Cloud: cloud})
		const sessions = 8
		start := anHourAgo()
		for i := range sessions {
			id := newSession(start, i+1)
			for _, e := range numbered(id, 20) {
				e.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: strings.Repeat("x", 200<<10)}
				cloud.set(nil, e)
			}
		}
		for range 2 {
			for i := range sessions {
				answer := ask(b, "POST", searchPath, forSession(newSession(start, i+1))) // decoding 4 MB is slow
				if hits := bytes.Count(answer.Body.Bytes(), []byte(`"_id"`)); hits != 20 {
					t.Fatalf("%d hits", hits)
				}
			}
		}
		// 4 MB each, of which 16 MiB are kept.
		if got := cloud.called(); got != sessions+sessions-4 {
			t.Errorf("%d calls for %d sessions asked for twice", got, sessions)
		}
		time.Sleep(11 * time.Second)
		before := cloud.called()
		for range 2 {
			ask(b, "POST", searchPath, forSession(newSession(start, 1)))
		}
		if got := cloud.called() - before; got != 1 {
			t.Errorf("%d calls for equal searches after room was made", got)
		}
	})
}

func TestWhenGoogleSaysTheQuotaIsUsedUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cloud := &fakeCloud{}
		b := newBridge(t, bridge.Config{Cloud: cloud})
		id := newSession(anHourAgo(), 1)
		cloud.set(status.Error(codes.ResourceExhausted, "Quota exceeded for quota metric 'Read requests' of project 1234"), entry(id, "one", id.Start()))
		for range 5 {
			got := searchFor(t, b, id)
			if got.status != 429 || got.retryAfter != "15" || got.Error.Type != "es_rejected_execution_exception" || strings.Contains(got.Error.Reason, "1234") {
				t.Errorf("answer: %+v", got)
			}
		}
		if got := cloud.called(); got != 1 {
			t.Errorf("%d calls though the first was refused", got)
		}
		cloud.set(nil)
		time.Sleep(15 * time.Second)
		if diff := cmp.Diff([]string{"one"}, searchFor(t, b, id).ids()); diff != "" {
			t.Errorf("15 s later: %s", diff)
		}
	})
}

func TestWhatCloudLoggingCannotDoIsSaidWithoutGooglesWords(t *testing.T) {
	for _, test := range []struct {
		err    error
		takes  time.Duration
		status int
		says   string
	}{
		{err: status.Error(codes.PermissionDenied, "user-1234"), status: 500, says: "roles/logging.viewer"},
		{err: status.Error(codes.Unauthenticated, "user-1234"), status: 500, says: "bridge check"},
		{err: status.Error(codes.Unavailable, "user-1234"), status: 500, says: "cannot be reached"},
		{err: status.Error(codes.Internal, "user-1234"), status: 500, says: "Internal"},
		{err: errors.New("user-1234"), status: 500, says: "did not answer"},
		{takes: time.Hour, status: 500, says: "did not answer within 20s"},
	} {
		inBubble(t, func(t *testing.T) {
			core, logged := observer.New(zap.ErrorLevel)
			b := newBridge(t, bridge.Config{Cloud: &fakeCloud{fails: test.err, takes: test.takes}, Log: zap.New(core)})
			got := searchFor(t, b, newSession(anHourAgo(), 1))
			if got.status != test.status || !strings.Contains(got.Error.Reason, test.says) || strings.Contains(got.Error.Reason, "1234") {
				t.Errorf("%v: %+v", test.err, got)
			}
			if logged.Len() != 1 || test.err != nil && !strings.Contains(fmt.Sprint(logged.All()[0].ContextMap()), "1234") {
				t.Errorf("%v: the log has %v", test.err, logged.All())
			}
		})
	}
}

// Cloud Logging may answer a long search with empty pages and "go on".
func TestEmptyPagesAreNotTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		id := newSession(anHourAgo(), 1)
		empty := 5
		calls := 0
		b := newBridge(t, bridge.Config{Cloud: cloudFunc(func(context.Context, *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error) {
			if calls++; calls <= empty {
				return &loggingpb.ListLogEntriesResponse{NextPageToken: "go on"}, nil
			}
			return &loggingpb.ListLogEntriesResponse{Entries: []*loggingpb.LogEntry{entry(id, "one", id.Start())}}, nil
		})})
		if diff := cmp.Diff([]string{"one"}, searchFor(t, b, id).ids()); diff != "" {
			t.Error(diff)
		}
		empty = 1000
		if got := searchFor(t, b, newSession(anHourAgo(), 2)); got.status != 500 || !strings.Contains(got.Error.Reason, "is not through") || calls != 6+1+10 {
			t.Errorf("after %d calls: %+v", calls, got)
		}
	})
}

// Where the calls of one search end before the entries do, the answer says so, however few it shows.
func TestShortPagesAreNotTheWhole(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		id := newSession(anHourAgo(), 1)
		calls := 0
		b := newBridge(t, bridge.Config{Cloud: cloudFunc(func(_ context.Context, r *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error) {
			calls++
			return &loggingpb.ListLogEntriesResponse{NextPageToken: "go on",
				Entries: []*loggingpb.LogEntry{entry(id, fmt.Sprint(calls), id.Start().Add(time.Duration(calls)*time.Second))}}, nil
		})})
		got := searchFor(t, b, id)
		if len(got.Hits.Hits) != 11 || got.Hits.Total.Relation != "gte" || !strings.HasPrefix(got.Hits.Hits[10].Source.Message, "More entries") {
			t.Errorf("%d hits, total %+v", len(got.Hits.Hits), got.Hits.Total)
		}
	})
}

// OpenReplay 1.21 ends its process where Elasticsearch answers a search with an error.
func TestOpenReplay121IsNeverGivenAnError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBridge(t, bridge.Config{Cloud: &fakeCloud{fails: status.Error(codes.PermissionDenied, "")}})
		for agent, want := range map[string]int{
			"go-elasticsearch/8.13.0 (linux amd64; Go 1.22.1)": 200,
			"go-elasticsearch/8.17.0 (linux amd64; Go 1.23.1)": 500,
			"go-elasticsearch/9.3.2 (linux amd64; Go 1.25.1)":  500,
		} {
			got := searchFor(t, b, newSession(anHourAgo(), 1), func(r *http.Request) { r.Header.Set("User-Agent", agent) })
			if got.status != want || len(got.Hits.Hits) != 0 {
				t.Errorf("%s: %+v", agent, got)
			}
			if want == 200 && !strings.Contains(got.Shards.Failures[0].Reason.Reason, "roles/logging.viewer") {
				t.Errorf("why: %+v", got.Shards)
			}
		}
	})
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBridge(t, bridge.Config{Cloud: &fakeCloud{takes: time.Hour}, Quota: 2})
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if got := searchFor(t, b, newSession(anHourAgo(), i+1)); got.status < 400 {
					t.Errorf("status %d", got.status)
				}
			})
		}
		synctest.Wait()
		b.Close()
		all.Wait()
	})
}
