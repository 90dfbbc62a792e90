// Package forwarder delivers records in order, and says when they have arrived.
package forwarder

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/forwarder/journal"
	"github.com/openreplay/log-sidecar/session"
)

// A batch has at most this many entries and about this many bytes. One request is in flight at a time: at a delay of
// 20 ms that is 20,000 entries a second.
const (
	batchEntries = 400
	batchBytes   = 400 << 10
)

// sendTimeout bounds the first try; each further one has twice as long, up to longestTimeout. A connection that died in
// silence is given up with the try, and what is on its way then is late by as much.
const (
	sendTimeout    = 10 * time.Second
	longestTimeout = time.Minute
)

// lateAfter is how long after its sealing an entry counts as late: a reader with a time cursor may have passed it.
const lateAfter = 2 * time.Second

// A Sink is where entries go.
type Sink interface {
	// Name says whose sealed bytes these are; a sink is only ever given its own.
	Name() string
	// Ready waits, though not for long, until entries can be sent. While it says that they cannot, nothing is sealed, so
	// that what comes after an outage has a timestamp of after it.
	Ready(context.Context) Outcome
	// Seal fixes the bytes of an entry with its timestamp, and appends them. An error says why it can never be sent.
	Seal([]byte, *Entry, time.Time) ([]byte, error)
	// Send tries once to deliver sealed entries, in order.
	Send(context.Context, [][]byte) Outcome
	// Line gives a sealed entry as one line of structured JSON as GKE's agent reads it, without a line end.
	Line(sealed []byte) ([]byte, error)
}

// An Outcome says what became of a batch.
type Outcome struct {
	// Err says that nothing is final: the same bytes have to be sent again. Without it every entry has arrived, but for
	// the refused.
	Err error
	// Code names Err for metrics; its values are few.
	Code string
	// Slow asks for long pauses: a quota, a missing permission or a wrong setting will not heal within the second.
	Slow bool
	// Refused entries can never arrive: index into the batch, and the reason.
	Refused map[int]string
}

// Config is what a Forwarder needs. Only Journal, DeadLetters, Ledger and Link may be left out.
type Config struct {
	Sink        Sink
	State       string           // the state directory's random ID, [0-9a-z]
	Journal     *journal.Journal // nil: a crash may double what is in flight
	Positions   func() (wanted func(journal.Key) bool)
	DeadLetters io.Writer // what can never be sent, with the reason, a line each; nil: it is only counted
	Unsent      io.Writer // where what could not be sent is written as structured JSON when Run has to end
	Pace        int       // entries a second at most, with ten seconds' worth of burst; 0: no bound
	EventTime   bool      // stamp entries with the record's own time, for those who do not use OpenReplay's reader
	Redact      bool
	Repeats     bool // of one error in one session within a second, only the first becomes an entry, with their number
	Ledger      *enrich.Ledger
	Service     string                             // what Error Reporting files the errors under
	Link        func(session.ID, time.Time) string // the address of a moment in the replay
	Log         *zap.Logger
	Registerer  prometheus.Registerer
}

// A Forwarder is one stream of entries to one sink.
type Forwarder struct {
	config  Config
	build   builder
	queue   *queue
	pace    *rate.Limiter
	metrics *metrics
	unsent  int       // entries that were written out
	last    time.Time // the timestamp of the batch sealed last
	sealed  []byte    // its bytes; the next one is written over them
}

// New gives a forwarder that delivers once Run is called.
func New(c Config) *Forwarder {
	if c.Link == nil {
		c.Link = func(session.ID, time.Time) string { return "" }
	}
	f := &Forwarder{
		config: c,
		build:  builder{state: c.State, service: c.Service, redact: c.Redact, link: c.Link},
		queue:  newQueue(),
	}
	f.metrics = newMetrics(c.Registerer, f.queue.len)
	if c.Pace > 0 {
		f.pace = rate.NewLimiter(rate.Limit(c.Pace), 10*c.Pace)
	}
	if c.Journal != nil {
		f.last = time.Unix(0, c.Journal.Last())
	}
	return f
}

// Put hands over a finding. It waits while much is waiting already, so that the pressure reaches the log file, which
// keeps what memory should not. An error says that ctx is done, and the finding was not taken.
func (f *Forwarder) Put(ctx context.Context, finding *enrich.Finding) error {
	if f.sealedBefore(finding) {
		f.metrics.again.Inc()
		f.config.Ledger.Dropped("sealed_before", 1)
		finding.Release()
		return nil
	}
	return f.queue.put(ctx, finding)
}

// sealedBefore says that a life before this one sealed these bytes and the checkpoint of the file had not passed them.
func (f *Forwarder) sealedBefore(finding *enrich.Finding) bool {
	return f.config.Journal != nil &&
		f.config.Journal.Sealed(keyOfBytes(finding))
}

// Close says that nothing more will be put; Run ends when all has arrived.
func (f *Forwarder) Close() { f.queue.close() }

// Run delivers until Close was called and everything has arrived. Once sending is done, what has not arrived, and all that
// is still put, is written to Config.Unsent instead, until Close was called or ctx is done. It stays in the journal and in the
// files, so that a next life sends it.
func (f *Forwarder) Run(ctx, sending context.Context) error {
	sending, stop := context.WithCancel(sending)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	if err := f.resume(sending); err != nil {
		return err
	}
	for sending.Err() == nil {
		found := f.queue.take(sending, f.room(), batchBytes)
		if len(found) == 0 {
			break
		}
		found = f.foldRepeats(sending, found)
		if f.wait(sending, len(found)) != nil || !f.ready(sending) {
			f.unsentFindings(found)
			break
		}
		f.forward(sending, found)
	}
	for ctx.Err() == nil {
		found := f.queue.take(ctx, batchEntries, batchBytes)
		if len(found) == 0 {
			break
		}
		f.unsentFindings(found)
	}
	f.unsentFindings(f.queue.rest())
	if f.unsent > 0 {
		f.config.Log.Warn("the end came before these entries had arrived; they are written out", zap.Int("entries", f.unsent))
	}
	return nil
}

// ready waits until entries can be sent; false: ctx is done.
func (f *Forwarder) ready(ctx context.Context) bool {
	for try := 0; ; try++ {
		out := f.config.Sink.Ready(ctx)
		if out.Err == nil {
			return true
		}
		if !f.again(ctx, try, out) {
			return false
		}
	}
}

// again waits before another try; false: ctx is done.
func (f *Forwarder) again(ctx context.Context, try int, out Outcome) bool {
	if ctx.Err() != nil {
		return false
	}
	f.metrics.retries.WithLabelValues(out.Code).Inc()
	if try%10 == 0 {
		f.config.Log.Warn("entries cannot be sent and wait", zap.Int("tries", try+1), zap.String("code", out.Code), zap.Error(out.Err))
	}
	return sleep(ctx, pause(try, out.Slow))
}

// resume sends what an earlier life sealed, as it was sealed.
func (f *Forwarder) resume(ctx context.Context) error {
	if f.config.Journal == nil || f.config.Journal.Waiting() == nil {
		return nil
	}
	b := f.config.Journal.Waiting()
	f.config.Ledger.Found(enrich.FromJournal, len(b.Entries))
	f.config.Log.Info("sending again what the last life did not get acknowledged", zap.Int("entries", len(b.Entries)))
	if b.Sink != f.config.Sink.Name() {
		f.dead(b, allRefused(len(b.Entries), "sealed for the sink "+b.Sink))
		return f.config.Journal.Ack()
	}
	f.deliver(ctx, b)
	return nil
}

// room is how many entries the pace lets through at once, at least one.
func (f *Forwarder) room() int {
	if f.pace == nil {
		return batchEntries
	}
	return min(batchEntries, max(1, int(f.pace.Tokens())))
}

func (f *Forwarder) wait(ctx context.Context, n int) error {
	for f.pace != nil && n > 0 {
		part := min(n, f.pace.Burst())
		if err := f.pace.WaitN(ctx, part); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// forward seals findings, keeps them in the journal, and then sends until they have arrived. Nothing else is sealed
// meanwhile, so that at most this batch can be too late for a reader with a time cursor.
func (f *Forwarder) forward(ctx context.Context, found []*enrich.Finding) {
	b := f.seal(found)
	kept := f.keep(ctx, b)
	if kept {
		release(found)
	}
	f.deliver(ctx, b)
	if !kept && ctx.Err() == nil {
		release(found)
	}
}

func release(found []*enrich.Finding) {
	for _, finding := range found {
		release(finding.Repeats)
		finding.Release()
	}
}

// seal fixes a batch. Its timestamp is now, yet at least a millisecond after the batch before: OpenReplay's reader goes
// on from the millisecond after the last entry that it saw. The batch is good until the next one is sealed.
func (f *Forwarder) seal(found []*enrich.Finding) *journal.Batch {
	now := time.Now()
	if least := f.last.Add(time.Millisecond); now.Before(least) {
		now = least
	}
	f.last = now
	b := &journal.Batch{Time: now.UnixNano(), Sink: f.config.Sink.Name(), Entries: make([]journal.Sealed, 0, len(found))}
	f.sealed = f.sealed[:0]
	for _, finding := range found {
		e := f.build.entry(finding)
		begin := len(f.sealed)
		all, err := f.config.Sink.Seal(f.sealed, e, f.stamp(e, now))
		if err != nil {
			f.config.Log.Error("an entry cannot be sent", zap.String("path", e.Source.File),
				zap.Int64("offset", e.Source.Offset), zap.Error(err))
			f.metrics.dead.WithLabelValues("unsealable").Inc()
			f.config.Ledger.Dropped("unsealable", 1+len(finding.Repeats))
			continue
		}
		f.sealed = all
		b.Entries = append(b.Entries, journal.Sealed{Key: e.Key, Data: all[begin:len(all):len(all)]})
		for _, again := range finding.Repeats {
			b.Folded = append(b.Folded, keyOfBytes(again))
		}
	}
	f.metrics.sealed.Add(float64(len(b.Entries)))
	f.config.Ledger.Dropped("repeat", len(b.Folded))
	return b
}

func keyOfBytes(finding *enrich.Finding) journal.Key {
	return journal.Key{File: finding.File, Offset: finding.Record.Offset}
}

func (f *Forwarder) stamp(e *Entry, now time.Time) time.Time {
	if f.config.EventTime && !e.EventTime.IsZero() {
		return e.EventTime
	}
	return now
}

// keep writes the batch to the journal and says whether a crash can no longer reach it. While the journal is full it
// waits: the files keep what is not sealed.
func (f *Forwarder) keep(ctx context.Context, b *journal.Batch) bool {
	if f.config.Journal == nil {
		return false
	}
	for {
		err := f.config.Journal.Append(b, f.config.Positions)
		if err == nil {
			return true
		}
		f.config.Log.Error("the journal does not take a batch", zap.Error(err))
		f.metrics.journalErrors.Inc()
		if !errors.Is(err, journal.ErrFull) || !sleep(ctx, time.Second) {
			return false
		}
	}
}

// deliver sends a batch until every entry has arrived or can never arrive, or ctx is done.
func (f *Forwarder) deliver(ctx context.Context, b *journal.Batch) {
	data := make([][]byte, len(b.Entries))
	for i := range b.Entries {
		data[i] = b.Entries[i].Data
	}
	f.metrics.sending(time.Unix(0, b.Time))
	defer f.metrics.sending(time.Time{})
	for try := 0; ; try++ {
		out := f.send(ctx, data, try)
		if out.Err == nil {
			f.arrived(b, out.Refused)
			return
		}
		if !f.again(ctx, try, out) {
			f.unsentSealed(b)
			return
		}
	}
}

func (f *Forwarder) send(ctx context.Context, data [][]byte, try int) Outcome {
	if len(data) == 0 {
		return Outcome{}
	}
	ctx, cancel := context.WithTimeout(ctx, min(longestTimeout, sendTimeout<<min(try, 10)))
	defer cancel()
	if out := f.config.Sink.Ready(ctx); out.Err != nil {
		return out
	}
	f.metrics.sent.Add(float64(len(data)))
	begin := time.Now()
	defer func() { f.metrics.sendSeconds.Observe(time.Since(begin).Seconds()) }()
	return f.config.Sink.Send(ctx, data)
}

func (f *Forwarder) arrived(b *journal.Batch, refused map[int]string) {
	f.dead(b, refused)
	f.metrics.acknowledged.Add(float64(len(b.Entries) - len(refused)))
	f.config.Ledger.Arrived(len(b.Entries) - len(refused))
	if time.Since(time.Unix(0, b.Time)) > lateAfter {
		f.metrics.late.Add(float64(len(b.Entries) - len(refused)))
	}
	if f.config.Journal != nil && f.config.Journal.Waiting() != nil {
		if err := f.config.Journal.Ack(); err != nil {
			f.config.Log.Error("an acknowledgement is not in the journal: after a crash the batch is sent again, unchanged", zap.Error(err))
		}
	}
}

// pause grows from 0.2 s twofold, to 2 s, or to 15 s for what heals slowly, and is spread evenly over its second half. The
// batch on its way is late by up to one pause after an outage.
func pause(try int, slow bool) time.Duration {
	limit := 2 * time.Second
	if slow {
		limit = 15 * time.Second
	}
	d := min(limit, 200*time.Millisecond<<min(try, 10))
	return d/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func allRefused(n int, reason string) map[int]string {
	refused := make(map[int]string, n)
	for i := range n {
		refused[i] = reason
	}
	return refused
}

// dead sets aside what can never arrive.
func (f *Forwarder) dead(b *journal.Batch, refused map[int]string) {
	for i, reason := range refused {
		f.metrics.dead.WithLabelValues("refused").Inc()
		f.config.Ledger.Dropped("refused", 1)
		f.config.Log.Error("an entry was refused for good", zap.String("reason", reason),
			zap.Int64("offset", b.Entries[i].Key.Offset))
		if f.config.DeadLetters == nil {
			continue
		}
		entry, err := f.config.Sink.Line(b.Entries[i].Data)
		if err != nil {
			entry = []byte("null")
		}
		line, err := json.Marshal(map[string]any{"reason": reason, "entry": json.RawMessage(entry)})
		if err == nil {
			f.config.DeadLetters.Write(append(line, '\n'))
		}
	}
}

// unsentFindings writes what was found and is not sealed to Unsent.
func (f *Forwarder) unsentFindings(found []*enrich.Finding) {
	if len(found) > 0 {
		f.unsentSealed(f.seal(found))
	}
}

func (f *Forwarder) unsentSealed(b *journal.Batch) {
	if len(b.Entries) == 0 {
		return
	}
	f.metrics.unsent.Add(float64(len(b.Entries)))
	f.config.Ledger.Dropped("unsent", len(b.Entries))
	f.unsent += len(b.Entries)
	var lines []byte
	for i := range b.Entries {
		if line, err := f.config.Sink.Line(b.Entries[i].Data); err == nil {
			lines = append(append(lines, line...), '\n')
		}
	}
	if _, err := f.config.Unsent.Write(lines); err != nil {
		f.config.Log.Error("the entries cannot be written out; they stay in the files", zap.Error(err))
	}
}
