package enrich

import (
	"context"
	"encoding/binary"
	"net/netip"
	"regexp"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/enrich/tail"
)

const (
	// quiet is how long a file is silent after a line end before its last record counts as complete.
	quiet = 300 * time.Millisecond
	// patience is how long a record whose exchange is known waits for the exchange's end, so that the entry has its status
	// and latency. An app writes most errors a few milliseconds before it answers.
	patience = 200 * time.Millisecond
	// maxWaiting bounds the records that wait; what comes on top is decided on what is known.
	maxWaiting = 4096
	// cutMark ends the text of a record whose line was longer than the tailer hands out.
	cutMark = "\n[the log's line is longer than 1 MiB; its rest was left out]"
	// audited is how many certain records a second, and at once, count as evidence: in a flood they are alike, and each costs
	// as much as all the rest that is done for it.
	audited, auditedAtOnce = 100, 200
	// tick is how often what waits is looked at; nothing wakes while nothing waits.
	tick = 20 * time.Millisecond
)

// Exchanges are those that the proxy saw.
type Exchanges interface {
	// ByID gives all exchanges that id may name.
	ByID(id string, yield func(Exchange) bool)
	// BySession gives the exchanges that carried the session's token.
	BySession(token string, yield func(Exchange) bool)
	// ByAppSession gives the exchanges that came with the app's session cookie of this hash, the latest first.
	ByAppSession(hash uint64, yield func(Exchange) bool)
	// ByUpstream gives the exchanges that the connection with our end addr served about then, the latest first.
	ByUpstream(addr netip.AddrPort, at time.Time, yield func(Exchange) bool)
	// During gives the exchanges that were open at some moment from from to to.
	During(from, to time.Time, yield func(Exchange) bool)
	// EvictedSince says whether one that was open at since or later is not held any more.
	EvictedSince(since time.Time) bool
}

// Infer is how far evidence may go where nothing is exact.
type Infer int

const (
	// InferPath takes the one exchange that is of the request which the record names.
	InferPath Infer = iota
	// InferKind also takes the exchange that what is known of records of its kind speaks for, unless chance does as well.
	InferKind
	// InferNothing leaves such records alone.
	InferNothing
)

// allows says whether a way may decide.
func (i Infer) allows(way string) bool {
	return i == InferKind || i == InferPath && way != byKind
}

// Config is what a Joiner needs.
type Config struct {
	Exchanges   Exchanges
	Sessions    Sessions // nil: what the proxy knew when a request came is all that is known
	MinSeverity record.Severity
	Unmatched   bool // also give out records that belong to no session
	Ignore      []*regexp.Regexp
	// Infer says which inferred ways may decide; the others run for their agreement alone.
	Infer Infer
	// SilentFailures makes a finding of each exchange of a session that failed and of which no record came.
	SilentFailures bool
	// Out takes a finding, and waits while it can take no more.
	Out    func(context.Context, *Finding) error
	Ledger *Ledger // may be nil
	// Owed gives the exchanges that have failed so far and of which nothing was delivered, those of earlier lives too. Settle is
	// called for each of them of which no more is owed. Both may be left out.
	Owed       func() []*Exchange
	Settle     func(*Exchange)
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// A Joiner turns the blocks of log files into findings. Read, Run and Finish may be called from different goroutines.
type Joiner struct {
	config  Config
	metrics *metrics

	mu       sync.Mutex
	evidence *evidence
	audits   *rate.Limiter
	files    map[*tail.File]*source
	waiting  []*candidate
	folds    *folds
	silent   *silent       // nil until the time is known
	later    []*Exchange   // silent failures whose records may still be waiting, or whose session is not known yet
	relook   time.Time     // when those are looked at next
	next     time.Time     // when Run looks next; zero: not before something waits
	wake     chan struct{} // tells Run that next is sooner now

	afterwards bool // records are read long after they were written: see Hindsight
}

// A source is one log file, as far as it was read.
type source struct {
	file  *tail.File
	cut   *record.Splitter
	open  *tail.Hold // the bytes of the record that is not complete
	due   time.Time  // when silence completes it; zero while nothing is open
	found []*record.Record

	history history
	lag     lag
	endings endings
	ways    tally
	start   int64 // of the bytes before it nobody knows when they were written: they stood there when the file was first read
	filling bool  // what is read now may still be of these
	// partial is where a record begins that was given out although its line had no end, or -1. Should the line go on after
	// all, the tailer hands out the whole of it again.
	partial int64
}

// A candidate is an error record that may yet learn more about its exchange.
type candidate struct {
	finding Finding
	source  *source
	match   match
	until   time.Time

	observed *observation // nil where it does not count
	audit    bool         // what is certain of it counts as evidence
	kind     *kind        // nil until it is asked for
	look     time.Time    // when to look again
	step     time.Duration
	fold     *fold
	essence  uint64    // of its text; 0 until it is asked for
	next     time.Time // it is not looked at before
}

// New gives a joiner.
func New(c Config) *Joiner {
	return &Joiner{
		config:   c,
		metrics:  newMetrics(c.Registerer),
		evidence: newEvidence(),
		audits:   rate.NewLimiter(audited, auditedAtOnce),
		folds:    newFolds(),
		files:    map[*tail.File]*source{},
		wake:     make(chan struct{}, 1),
	}
}

// Read takes the next block of a file. It waits while Out does, so that the pressure reaches the file.
func (j *Joiner) Read(ctx context.Context, b *tail.Block) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.metrics.bytes.Add(float64(len(b.Data)))
	j.begin(b.Arrived)
	if len(b.Data) >= bulk {
		j.silent.behind = b.Arrived
	}
	s := j.source(b)
	s.history.note(b.Offset+int64(len(b.Data)), b.Arrived, b.Since)
	if b.Record {
		return j.readAgain(ctx, s, b)
	}
	if s.filling {
		s.start = b.Offset + int64(len(b.Data))
		s.filling = len(b.Data) >= bulk
	}
	s.cut.Feed(b.Offset, b.Data, b.Arrived, s.take)
	if b.Partial || b.Last {
		s.cut.Flush(s.take)
	}
	s.dropGiven()
	if n := len(s.found); b.Partial && n > 0 {
		s.partial = s.found[n-1].Offset
		if b.Cut {
			s.found[n-1].Text += cutMark
		}
	}
	err := j.settle(ctx, s, b.Offset+int64(len(b.Data)), b.Arrived)
	if b.Last {
		s.learn()
		delete(j.files, b.File)
	}
	return err
}

// begin notes when this life began, at the first call that knows the time.
func (j *Joiner) begin(now time.Time) {
	if j.silent == nil {
		j.silent = newSilent(now)
	}
}

// readAgain takes a record that was complete, and not decided, when an earlier life ended.
func (j *Joiner) readAgain(ctx context.Context, s *source, b *tail.Block) error {
	r := record.One(j.options(b), b.File.Note(), b.Offset, b.Data, b.Arrived)
	if r == nil {
		return nil
	}
	end := b.Offset + int64(len(b.Data))
	s.start = max(s.start, end)
	hold := b.File.Hold(r.Offset, end)
	hold.Close()
	return j.consider(ctx, s, finding(b.File, r, hold), b.Arrived)
}

func (j *Joiner) source(b *tail.Block) *source {
	s := j.files[b.File]
	if s == nil {
		s = &source{file: b.File, cut: record.New(j.options(b), b.File.Note()), partial: -1, ways: tally{}}
		s.filling = len(b.Data) >= bulk || b.Arrived.Sub(j.silent.from) < starting
		j.files[b.File] = s
	}
	return s
}

func (j *Joiner) options(b *tail.Block) record.Options {
	o := record.Options{Min: j.config.MinSeverity}
	switch b.Encoding {
	case tail.UTF16LE:
		o.UTF16 = binary.LittleEndian
	case tail.UTF16BE:
		o.UTF16 = binary.BigEndian
	}
	return o
}

func (s *source) take(r *record.Record) { s.found = append(s.found, r) }

// dropGiven leaves out the record that was given out before its line had ended.
func (s *source) dropGiven() {
	if s.partial >= 0 && len(s.found) > 0 {
		if s.found[0].Offset == s.partial {
			s.found = s.found[1:]
		}
		s.partial = -1
	}
}

// learn keeps what the file has shown of its records' borders, so that a next life cuts the same records.
func (s *source) learn() { s.file.SetNote(s.cut.Learned()) }

// settle holds what is not decided of the file up to end: the records just found, and the one that is still open.
func (j *Joiner) settle(ctx context.Context, s *source, end int64, now time.Time) error {
	found := s.found
	s.found = nil
	holds := make([]*tail.Hold, len(found))
	for i, r := range found {
		holds[i] = s.file.Hold(r.Offset, r.Offset+r.Length)
		holds[i].Close()
	}
	before := s.open
	s.open, s.due = nil, time.Time{}
	if from, ok := s.cut.Open(); ok {
		s.open, s.due = s.file.Hold(from, end), now.Add(quiet)
		j.lookAt(s.due)
	}
	if before != nil {
		before.Release()
	}
	if len(found) > 0 {
		s.learn()
	}
	for _, r := range found { // the last one tells of all that came with it how late they are
		s.learnLag(r)
	}
	for i, r := range found {
		if err := j.consider(ctx, s, finding(s.file, r, holds[i]), now); err != nil {
			return err
		}
	}
	return nil
}

func finding(f *tail.File, r *record.Record, hold *tail.Hold) *Finding {
	return &Finding{Record: r, File: f.ID, Path: f.Path, Release: hold.Release}
}

// consider decides on a record, or lets it wait.
func (j *Joiner) consider(ctx context.Context, s *source, f *Finding, now time.Time) error {
	j.metrics.found.WithLabelValues(f.Record.Severity.String()).Inc()
	j.config.Ledger.Found(FromRecord, 1)
	for _, pattern := range j.config.Ignore {
		if pattern.MatchString(f.Record.Text) {
			j.metrics.unmatched.WithLabelValues("ignored").Inc()
			j.config.Ledger.Dropped("ignored", 1)
			f.Release()
			return nil
		}
	}
	c := &candidate{finding: *f, source: s, until: now.Add(patience), match: j.exact(s, f.Record)}
	if c.match.soon {
		s.endings.surprise()
	}
	c.audit = j.audits.AllowN(now, 1)
	byMoment := c.match.exchange == nil || c.match.ofConnection()
	if byMoment && !fine(f.Record.Time) {
		s.file.Prompt(now)
	}
	if c.audit || byMoment {
		c.observed = j.observe(c)
	}
	if c.match.exchange == nil && c.match.reason != ambiguous {
		c.fallBack()
		if len(j.waiting) < maxWaiting { // evidence is for Run to weigh: it takes its time
			j.await(c, now)
			return nil
		}
	}
	return j.proceed(ctx, c, now)
}

// fallBack goes over from what is exact to what evidence says.
func (c *candidate) fallBack() {
	c.match = match{reason: noID, wait: true}
	c.until, c.step = c.finding.Record.Arrived.Add(enough), tick
}

// proceed decides on a record, or lets it wait.
func (j *Joiner) proceed(ctx context.Context, c *candidate, now time.Time) error {
	if c.step == 0 && c.match.exchange != nil && c.afterwards() && now.Sub(c.observed.at) < settling {
		j.await(c, now)
		return nil
	}
	if c.step == 0 && j.contradicted(c, now) {
		c.fallBack()
	}
	if c.step > 0 && c.match.exchange == nil {
		if !c.infers(now) {
			j.waiting = append(j.waiting, c)
			return nil
		}
		c.match = j.infer(c, now)
		c.look, c.step = earlier(now.Add(c.step), c.until), 2*c.step
	}
	nameless := j.whose(c.match.exchange, now)
	soon := c.unsettled() && now.Before(c.until)
	if (soon || nameless) && len(j.waiting) < maxWaiting {
		if !soon { // many may wait for their session alone, and for long
			c.next = now.Add(sessionLook)
		}
		j.await(c, now)
		return nil
	}
	return j.conclude(ctx, c, now)
}

// infers says whether evidence is to be asked now.
func (c *candidate) infers(now time.Time) bool {
	return c.step > 0 && c.match.exchange == nil && !now.Before(c.look)
}

// conclude decides, after a moment in which the same error may turn up in another file.
func (j *Joiner) conclude(ctx context.Context, c *candidate, now time.Time) error {
	if x := c.match.exchange; x != nil && x.HasSession() {
		if c.fold == nil && j.folds.add(c, now) {
			j.metrics.unmatched.WithLabelValues(folded).Inc()
			j.config.Ledger.Dropped(folded, 1)
			return nil
		}
		if c.fold != nil && len(j.files) > 1 && now.Sub(c.fold.at) < foldWait && len(j.waiting) < maxWaiting {
			j.await(c, now)
			return nil
		}
	}
	if c.fold != nil {
		c.fold.c = nil
	}
	return j.decide(ctx, c, now)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// unsettled says whether time can tell more: the exchange is open, and its session may become known.
func (c *candidate) unsettled() bool {
	return c.match.wait || c.match.exchange != nil && c.match.exchange.End.IsZero()
}

// decide gives the finding out, or counts why it is not.
func (j *Joiner) decide(ctx context.Context, c *candidate, now time.Time) error {
	f := &c.finding
	if f.Record.Time.IsZero() {
		f.Record.Time = f.Record.Arrived
	}
	if c.audit && c.match.exchange != nil && !c.match.inferred && !c.match.ofUser() {
		j.audit(c, now)
	}
	f.Exchange, f.By, f.Inferred = c.match.exchange, c.match.by, c.match.inferred
	if c.match.ofConnection() {
		c.source.endings.add(f.Record, c.source.written(f.Record), f.Exchange)
	}
	matched := f.Exchange != nil && f.Exchange.HasSession()
	switch {
	case matched:
		j.metrics.matched.WithLabelValues(f.By).Inc()
		_, f.Late = j.silent.knows(f.Exchange)
		j.silent.tell(f.Exchange, f.Late)
		if f.Exchange.Status >= 500 {
			f.Release = j.settling(f.Exchange, f.Release)
		}
	case f.Exchange != nil:
		j.metrics.unmatched.WithLabelValues(noSession).Inc()
	default:
		j.metrics.unmatched.WithLabelValues(c.match.reason).Inc()
	}
	if !matched && !j.config.Unmatched {
		j.config.Ledger.Dropped("unmatched", 1)
		f.Release()
		return nil
	}
	return j.out(ctx, f)
}

// out hands a finding on. While that waits, files are not read: what looks silent then may only be unread.
func (j *Joiner) out(ctx context.Context, f *Finding) error {
	began := time.Now()
	err := j.config.Out(ctx, f)
	if now := time.Now(); now.Sub(began) > readOn/2 {
		j.silent.behind = now
	}
	return err
}

// settling gives what says that nothing is owed for x any more, before it does what release does: a kill in between has the
// record read again, and known as sealed.
func (j *Joiner) settling(x *Exchange, release func()) func() {
	if j.config.Settle == nil {
		return release
	}
	return func() { j.config.Settle(x); release() }
}

// Finish completes what is open and decides on all that waits: nothing more will be read.
func (j *Joiner) Finish(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	for _, s := range j.files {
		s.cut.Flush(s.take)
		if err := j.settle(ctx, s, 0, now); err != nil {
			return err
		}
		s.learn()
	}
	j.begin(now)
	if _, err := j.decideWaiting(ctx, now.Add(time.Hour), 0); err != nil {
		return err
	}
	if err := j.searchLater(ctx, now, true); err != nil {
		return err
	}
	return j.searchSilent(ctx, now, true)
}
