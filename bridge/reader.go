package bridge

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/openreplay/log-sidecar/session"
)

const (
	// pageSize is the most entries that Cloud Logging gives in one call.
	pageSize = 1000
	// maxPages bounds the calls that one search may cost. A session with more entries is counted as "at least".
	maxPages = 10
	// maxAnswer is the most bytes of hits that are kept for a session; the rest counts as left out.
	maxAnswer = 4 << 20
	// readTime is the longest that a session's entries may take to come.
	readTime = 20 * time.Second

	// A session's entries lie between its start, which its ID tells, and window later: a session is a matter of hours, but
	// an entry is dated when the sidecar seals it, and a sidecar can be cut off over a weekend. OpenReplay's clock may be
	// ahead of Google's by slack.
	slack  = 5 * time.Minute
	window = 72 * time.Hour
)

// Cloud lists entries. List makes one call, which counts as one in Google's quota, and answers with one page.
type Cloud interface {
	List(ctx context.Context, request *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error)
}

// An answer is what Cloud Logging had of one session at one moment.
type answer struct {
	hits    []hit // those with the oldest timestamps, at most maxHits, in the order of their own time
	bytes   int
	full    bool // whether entries were left out
	total   int
	atLeast bool      // total is not all
	newest  time.Time // of the last one; zero where there is none
	read    time.Time
}

// add takes the entries in the order of their timestamps, so that what is left out is always later than what is kept.
func (a *answer) add(e *loggingpb.LogEntry, id session.ID) {
	a.total++
	a.date(e)
	if a.full = a.full || len(a.hits) == maxHits || a.bytes > maxAnswer; a.full {
		return
	}
	h := newHit(e, id)
	a.hits = append(a.hits, h)
	a.bytes += len(h.json)
}

func (a *answer) date(e *loggingpb.LogEntry) {
	if at := dated(e); at.After(a.newest) {
		a.newest = at
	}
}

// unsettled is how long the session must stay without another entry until it counts as over; 0: it does.
func (a *answer) unsettled(settle time.Duration) time.Duration {
	if a.total == 0 || settle == 0 {
		return 0
	}
	return max(a.newest.Add(settle).Sub(a.read), 0)
}

// first gives at most n hits; where there are more entries, the last one says how many.
func (a *answer) first(n int, id session.ID) (shown []hit, out int) {
	n = min(n, maxHits)
	if !a.full && len(a.hits) <= n {
		return a.hits, 0
	}
	if n < 2 { // no room to say it; total does
		return a.hits[:min(n, len(a.hits))], a.total - n
	}
	shown = a.hits[:min(n-1, len(a.hits))]
	out = a.total - len(shown)
	return append(slices.Clip(shown), leftOut(out, a.atLeast, id, shown[len(shown)-1].at)), out
}

// A reader asks Cloud Logging.
type reader struct {
	cloud   Cloud
	log     *zap.Logger
	metrics *metrics
}

// read gives the answer of each session. The guard's turn for the first call is the caller's to take.
func (r *reader) read(ctx context.Context, g *guard, source Source, ids []session.ID) (map[session.ID]*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	answers := map[session.ID]*answer{}
	byLabel := map[string]session.ID{}
	for _, id := range ids {
		answers[id] = &answer{read: time.Now()}
		byLabel[id.String()] = id
	}
	more, err := r.pages(ctx, g, request(source, ids), func(e *loggingpb.LogEntry) {
		// The filter is trusted to find, not to keep users apart.
		if id, ours := byLabel[e.GetLabels()[labelID]]; ours {
			answers[id].add(e, id)
		}
	})
	if err == nil && more {
		return r.long(ctx, g, source, ids, answers)
	}
	for _, a := range answers {
		a.order()
	}
	return answers, err
}

// long deals with what maxPages did not exhaust. Several sessions are asked for one by one, so that a very long one hides
// nothing of the others; of a single one it is still to be known how old its last entry is.
func (r *reader) long(ctx context.Context, g *guard, source Source, ids []session.ID, answers map[session.ID]*answer) (map[session.ID]*answer, error) {
	if len(ids) > 1 {
		return r.each(ctx, g, source, ids)
	}
	a := answers[ids[0]]
	if a.total == 0 { // Cloud Logging may answer "nothing yet, go on"
		return nil, &failure{status: http.StatusInternalServerError, kind: "exception",
			reason: fmt.Sprintf("Cloud Logging has found nothing in %d calls and is not through; ask again", maxPages)}
	}
	a.atLeast, a.full = true, true
	a.order()
	last := request(source, ids)
	last.OrderBy, last.PageSize = "timestamp desc", 1
	if err := g.wait(ctx); err != nil {
		return nil, err
	}
	page, err := r.list(ctx, g, last)
	for _, e := range page.GetEntries() {
		a.date(e)
	}
	return answers, err
}

func (r *reader) each(ctx context.Context, g *guard, source Source, ids []session.ID) (map[session.ID]*answer, error) {
	all := map[session.ID]*answer{}
	for _, id := range ids {
		if err := g.wait(ctx); err != nil {
			return nil, err
		}
		one, err := r.read(ctx, g, source, []session.ID{id})
		if err != nil {
			return nil, err
		}
		all[id] = one[id]
	}
	return all, nil
}

// order sorts by the records' own times: the panel takes an answer to be in that order.
func (a *answer) order() {
	slices.SortStableFunc(a.hits, func(x, y hit) int { return x.at.Compare(y.at) })
}

// pages hands on the entries of at most maxPages pages, and says whether there are more. Where the quota ends after the
// first page, what came counts: the answer will say "at least".
func (r *reader) pages(ctx context.Context, g *guard, req *loggingpb.ListLogEntriesRequest, use func(*loggingpb.LogEntry)) (more bool, err error) {
	for n := range maxPages {
		if n > 0 && g.wait(ctx) != nil {
			return true, ctx.Err()
		}
		page, err := r.list(ctx, g, req)
		if err != nil {
			return false, err
		}
		for _, e := range page.Entries {
			use(e)
		}
		if req.PageToken = page.NextPageToken; req.PageToken == "" {
			return false, nil
		}
	}
	return true, nil
}

func (r *reader) list(ctx context.Context, g *guard, req *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error) {
	begin := time.Now()
	page, err := r.cloud.List(ctx, req)
	r.metrics.called(status.Code(err), time.Since(begin))
	if err == nil {
		return page, nil
	}
	if status.Code(err) == codes.ResourceExhausted {
		g.refused()
	}
	r.log.Error("Cloud Logging did not answer a search", zap.Strings("project", req.ResourceNames), zap.Error(err))
	return nil, explain(ctx, err)
}

// explain says to OpenReplay what it may know; the account and Google's words stand in the log. The status is 500 even
// where 503 would fit, because Elastic's clients ask three more times at once after a 503.
func explain(ctx context.Context, err error) *failure {
	f := &failure{status: http.StatusInternalServerError, kind: "exception"}
	switch code := status.Code(err); {
	case code == codes.ResourceExhausted:
		return quotaFailure(pause)
	case code == codes.PermissionDenied || code == codes.Unauthenticated:
		f.reason = "the bridge's Google account may not read these logs; give it the role roles/logging.viewer and try: bridge check"
	case code == codes.DeadlineExceeded || ctx.Err() != nil:
		f.reason = fmt.Sprintf("Cloud Logging did not answer within %v", readTime)
	case code == codes.Unavailable:
		f.reason = "Cloud Logging cannot be reached; try: bridge check"
	default:
		f.reason = "Cloud Logging did not answer: " + code.String()
	}
	return f
}

func request(source Source, ids []session.ID) *loggingpb.ListLogEntriesRequest {
	return &loggingpb.ListLogEntriesRequest{
		ResourceNames: []string{"projects/" + source.Project},
		Filter:        filter(source, ids),
		OrderBy:       "timestamp asc",
		PageSize:      pageSize,
	}
}

// filter is made of numbers, times and names whose shape the keys file was held to; nothing of a request's text is in it.
func filter(source Source, ids []session.ID) string {
	from, to := ids[0].Start(), ids[0].Start()
	labels := make([]string, len(ids))
	for i, id := range ids {
		labels[i] = `"` + id.String() + `"`
		if id.Start().Before(from) {
			from = id.Start()
		}
		if id.Start().After(to) {
			to = id.Start()
		}
	}
	return fmt.Sprintf(`%s AND labels.%q=%s AND timestamp>="%s" AND timestamp<="%s"`, logNames(source), labelID, anyOf(labels),
		from.Add(-slack).Format(time.RFC3339), to.Add(window).Format(time.RFC3339))
}

func logNames(source Source) string {
	logs := strings.Split(source.Logs, ",")
	for i, log := range logs {
		logs[i] = fmt.Sprintf(`"projects/%s/logs/%s"`, source.Project, strings.ReplaceAll(log, "/", "%2F"))
	}
	return "logName=" + anyOf(logs)
}

func anyOf(quoted []string) string {
	if len(quoted) == 1 {
		return quoted[0]
	}
	return "(" + strings.Join(quoted, " OR ") + ")"
}
