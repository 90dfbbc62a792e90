package bridge

import (
	"context"
	"fmt"
	"maps"
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
	if len(ids) == 1 {
		a, err := r.one(ctx, g, source, ids[0])
		return map[session.ID]*answer{ids[0]: a}, err
	}
	return r.several(ctx, g, source, ids)
}

// one reads a session. Where there is more than a page, it looks first how old the last entry is, which must be known, and
// then counts the others as far as the quota allows.
func (r *reader) one(ctx context.Context, g *guard, source Source, id session.ID) (*answer, error) {
	a := &answer{read: time.Now()}
	req := request(source, []session.ID{id})
	use := r.sorted(map[session.ID]*answer{id: a})
	more, err := r.pages(ctx, g, req, 1, use)
	if more {
		if err = r.last(ctx, g, source, id, a); err == nil {
			a.atLeast, err = r.pages(ctx, g, req, maxPages-1, use)
		}
	}
	if err == nil && a.atLeast && a.total == 0 { // Cloud Logging may answer "nothing yet, go on"
		err = &failure{status: http.StatusInternalServerError, kind: "exception",
			reason: "Cloud Logging has found nothing so far and is not through; ask again"}
	}
	a.full = a.full || a.atLeast
	a.order()
	return a, err
}

// last finds out how old the session's last entry is.
func (r *reader) last(ctx context.Context, g *guard, source Source, id session.ID, a *answer) error {
	if err := g.wait(ctx); err != nil {
		return err
	}
	req := request(source, []session.ID{id})
	req.OrderBy, req.PageSize = "timestamp desc", 1
	page, err := r.list(ctx, g, req)
	for _, e := range page.GetEntries() {
		a.date(e)
	}
	return err
}

// several reads sessions with one filter.
func (r *reader) several(ctx context.Context, g *guard, source Source, ids []session.ID) (map[session.ID]*answer, error) {
	answers := map[session.ID]*answer{}
	for _, id := range ids {
		answers[id] = &answer{read: time.Now()}
	}
	more, err := r.pages(ctx, g, request(source, ids), maxPages, r.sorted(answers))
	if more && err == nil {
		return r.apart(ctx, g, source, answers)
	}
	for _, a := range answers {
		a.order()
	}
	return answers, err
}

// sorted puts entries where they belong. The filter is trusted to find them, not to keep users apart.
func (r *reader) sorted(answers map[session.ID]*answer) func(*loggingpb.LogEntry) {
	byLabel := map[string]session.ID{}
	for id := range answers {
		byLabel[id.String()] = id
	}
	return func(e *loggingpb.LogEntry) {
		if id, ours := byLabel[e.GetLabels()[labelID]]; ours {
			answers[id].add(e, id)
		}
	}
}

// apart reads anew what several sessions have together more of than was read: the one with most entries alone, so that it
// hides nothing of the others.
func (r *reader) apart(ctx context.Context, g *guard, source Source, answers map[session.ID]*answer) (map[session.ID]*answer, error) {
	ids := slices.SortedFunc(maps.Keys(answers), func(a, b session.ID) int { return answers[b].total - answers[a].total })
	all := map[session.ID]*answer{}
	for _, some := range [][]session.ID{ids[:1], ids[1:]} {
		if err := g.wait(ctx); err != nil {
			return nil, err
		}
		read, err := r.read(ctx, g, source, some)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, read)
	}
	return all, nil
}

// pages hands on the entries of at most n pages, and says whether there are more. Where the quota ends after the first
// page, what came counts.
func (r *reader) pages(ctx context.Context, g *guard, req *loggingpb.ListLogEntriesRequest, n int, use func(*loggingpb.LogEntry)) (more bool, err error) {
	for range n {
		if req.PageToken != "" && g.wait(ctx) != nil {
			break
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
