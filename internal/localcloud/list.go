package localcloud

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"slices"
	"sort"
	"strings"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/openreplay/log-sidecar/internal/localcloud/lql"
)

const (
	defaultPage  = 50
	maxPage      = 1000
	maxPageBytes = 8 << 20 // an answer ends here too, with a token for the rest
	maxResources = 100
)

// Entries returns the entries that a filter matches, in all projects, oldest
// first. The error is the one that a client of the API would read.
func (s *Server) Entries(filter string) ([]*loggingpb.LogEntry, error) {
	q, err := newQuery(filter, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	var entries []*loggingpb.LogEntry
	for r := range q.records(s.store) {
		entries = append(entries, r.entry())
	}
	return entries, nil
}

// query is a filter over the logs of some resources.
type query struct {
	filter   *lql.Filter
	in       func(parent string) bool
	backward bool
	after    *position
}

func newQuery(filter string, in func(string) bool) (*query, error) {
	f, err := lql.Parse(filter)
	if err != nil {
		return nil, invalid("%v", err)
	}
	return &query{filter: f, in: in}, nil
}

// records yields what matches, in the order asked for.
func (q *query) records(s *store) func(yield func(*record) bool) {
	return func(yield func(*record) bool) {
		candidates := q.candidates(s)
		m := q.matcher()
		for i := range candidates {
			r := candidates[i]
			if q.backward {
				r = candidates[len(candidates)-1-i]
			}
			if m.matches(r) && !yield(r) {
				return
			}
		}
	}
}

// candidates are the records that can match at all, by label, time and page.
func (q *query) candidates(s *store) []*record {
	var all []*record
	if key, folded, ok := q.filter.LabelIn(); ok {
		all = s.labelled(key, folded)
	} else {
		all = s.snapshot()
	}
	from, to := q.filter.Bounds()
	if !from.IsZero() {
		all = all[sort.Search(len(all), func(i int) bool { return !all[i].at.before(momentOf(from)) }):]
	}
	if !to.IsZero() {
		all = all[:sort.Search(len(all), func(i int) bool { return momentOf(to).before(all[i].at) })]
	}
	return q.rest(all)
}

// rest leaves out what earlier pages brought.
func (q *query) rest(all []*record) []*record {
	if q.after == nil {
		return all
	}
	last := q.after.record()
	if q.backward {
		return all[:sort.Search(len(all), func(i int) bool { return compareRecords(all[i], last) >= 0 })]
	}
	return all[sort.Search(len(all), func(i int) bool { return compareRecords(all[i], last) > 0 }):]
}

func momentOf(t time.Time) moment { return moment{t.Unix(), int32(t.Nanosecond())} }

func (m moment) before(o moment) bool {
	return m.seconds < o.seconds || m.seconds == o.seconds && m.nanos < o.nanos
}

// matcher decodes of each record only what the filter reads.
type matcher struct {
	*query
	scratch []byte
	logs    map[string]bool // whether a log belongs to the resources asked for
}

func (q *query) matcher() *matcher { return &matcher{query: q, logs: map[string]bool{}} }

func (m *matcher) matches(r *record) bool {
	in, known := m.logs[r.log]
	if !known {
		in = m.in(parentOf(r.log))
		m.logs[r.log] = in
	}
	if !in {
		return false
	}
	fields, all := m.filter.Fields()
	switch {
	case all:
		return m.filter.Match(r.entry())
	case len(fields) == 0:
		return m.filter.Match(nil)
	}
	e, scratch := r.only(fields, m.scratch)
	m.scratch = scratch
	return m.filter.Match(e)
}

// position is where a page ended.
type position struct {
	Seconds int64  `json:"s"`
	Nanos   int32  `json:"n"`
	ID      string `json:"i"`
	Log     string `json:"l"`
	Query   uint64 `json:"q"` // of what the pages are pages
}

func (p *position) record() *record {
	return &record{at: moment{p.Seconds, p.Nanos}, id: p.ID, log: p.Log}
}

func (p *position) token() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseToken(token string, query uint64) (*position, error) {
	p := new(position)
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(b, p) != nil {
		return nil, invalid("page_token is invalid")
	}
	if p.Query != query {
		return nil, invalid("page_token doesn't match arguments from the request")
	}
	return p, nil
}

// list gives one page of records, and the token of the next one.
func (s *Server) list(req *loggingpb.ListLogEntriesRequest) (page []*record, next string, err error) {
	q, err := listQuery(req)
	if err != nil {
		return nil, "", err
	}
	size := int(req.PageSize)
	if size == 0 {
		size = defaultPage
	}
	bytes := 0
	for r := range q.records(s.store) {
		if len(page) == size || bytes > maxPageBytes {
			last := page[len(page)-1]
			p := position{last.at.seconds, last.at.nanos, last.id, last.log, fingerprint(req)}
			return page, p.token(), nil
		}
		page = append(page, r)
		bytes += len(r.wire)
	}
	return page, "", nil
}

func listQuery(req *loggingpb.ListLogEntriesRequest) (*query, error) {
	in, err := within(req.ResourceNames)
	if err != nil {
		return nil, err
	}
	if req.PageSize < 0 || req.PageSize > maxPage {
		return nil, invalid("page_size %d is not between 0 and %d", req.PageSize, maxPage)
	}
	q, err := newQuery(req.Filter, in)
	if err != nil {
		return nil, err
	}
	if q.backward, err = newestFirst(req.OrderBy); err != nil {
		return nil, err
	}
	if req.PageToken != "" {
		q.after, err = parseToken(req.PageToken, fingerprint(req))
	}
	return q, err
}

func newestFirst(orderBy string) (bool, error) {
	switch strings.Join(strings.Fields(orderBy), " ") {
	case "", "timestamp", "timestamp asc":
		return false, nil
	case "timestamp desc":
		return true, nil
	}
	return false, invalid("order_by %q is neither \"timestamp asc\" nor \"timestamp desc\"", orderBy)
}

// fingerprint tells one question from another, so that a page token cannot be
// used for the wrong one.
func fingerprint(req *loggingpb.ListLogEntriesRequest) uint64 {
	h := fnv.New64a()
	for _, part := range append(slices.Clone(req.ResourceNames), req.Filter, req.OrderBy) {
		h.Write(append([]byte(part), 0))
	}
	return h.Sum64()
}

// within returns a test of whether a log's parent was asked for. A view stands
// for all that its project has, as there is but one bucket here.
func within(resources []string) (func(parent string) bool, error) {
	if len(resources) == 0 || len(resources) > maxResources {
		return nil, invalid("resource_names must have between 1 and %d names", maxResources)
	}
	parents := map[string]bool{}
	for _, name := range resources {
		parts := strings.SplitN(name, "/", 3)
		if len(parts) < 2 || parts[1] == "" || !slices.Contains([]string{"projects", "organizations", "billingAccounts", "folders"}, parts[0]) {
			return nil, invalid("resource name %q is not of the form projects/PROJECT_ID", name)
		}
		parents[parts[0]+"/"+parts[1]] = true
	}
	return func(parent string) bool { return parents[parent] }, nil
}
