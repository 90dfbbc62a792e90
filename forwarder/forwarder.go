// Package forwarder delivers records in order, and says when they have arrived.
package forwarder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
// 20 ms that is 25,000 entries a second.
const (
	batchEntries = 500
	batchBytes   = 512 << 10
)

// sendTimeout bounds one try.
const sendTimeout = 20 * time.Second

// A Sink is where entries go.
type Sink interface {
	// Name says whose sealed bytes these are; a sink is only ever given its own.
	Name() string
	// Seal fixes the bytes of an entry with its timestamp. An error says why it can never be sent.
	Seal(*Entry, time.Time) ([]byte, error)
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

// Config is what a Forwarder needs. Only Journal, DeadLetters and Link may be left out.
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
	last    time.Time // the timestamp of the batch sealed last
}

// New gives a forwarder that delivers once Run is called.
func New(c Config) *Forwarder {
	if c.Link == nil {
		c.Link = func(session.ID, time.Time) string { return "" }
	}
	f := &Forwarder{
		config: c,
		build:  builder{state: c.State, redact: c.Redact, link: c.Link},
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
		finding.Release()
		return nil
	}
	return f.queue.put(ctx, finding)
}

// sealedBefore says that a life before this one sealed these bytes and the checkpoint of the file had not passed them.
func (f *Forwarder) sealedBefore(finding *enrich.Finding) bool {
	return f.config.Journal != nil &&
		f.config.Journal.Sealed(journal.Key{File: finding.File, Offset: finding.Record.Offset})
}

// Close says that nothing more will be put; Run ends when all has arrived.
func (f *Forwarder) Close() { f.queue.close() }

// Run delivers until Close was called and everything has arrived. When ctx is done first, what is waiting is written to
// Config.Unsent; it stays in the journal and in the files, so that a next life sends it.
func (f *Forwarder) Run(ctx context.Context) error {
	if err := f.resume(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		found := f.queue.take(ctx, f.room(), batchBytes)
		if len(found) == 0 {
			break
		}
		if err := f.wait(ctx, len(found)); err != nil {
			f.unsentFindings(found)
			break
		}
		f.forward(ctx, found)
	}
	f.unsentFindings(f.queue.rest())
	return nil
}

// resume sends what an earlier life sealed, as it was sealed.
func (f *Forwarder) resume(ctx context.Context) error {
	if f.config.Journal == nil || f.config.Journal.Waiting() == nil {
		return nil
	}
	b := f.config.Journal.Waiting()
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
	if f.pace == nil {
		return nil
	}
	return f.pace.WaitN(ctx, n)
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
		finding.Release()
	}
}

// seal fixes a batch. Its timestamp is now, yet at least a millisecond after the batch before: OpenReplay's reader goes
// on from the millisecond after the last entry that it saw.
func (f *Forwarder) seal(found []*enrich.Finding) *journal.Batch {
	now := time.Now()
	if least := f.last.Add(time.Millisecond); now.Before(least) {
		now = least
	}
	f.last = now
	b := &journal.Batch{Time: now.UnixNano(), Sink: f.config.Sink.Name()}
	for _, finding := range found {
		e := f.build.entry(finding)
		data, err := f.config.Sink.Seal(e, f.stamp(e, now))
		if err != nil {
			f.config.Log.Error("an entry cannot be sent", zap.String("path", e.Source.File),
				zap.Int64("offset", e.Source.Offset), zap.Error(err))
			f.metrics.dead.WithLabelValues("unsealable").Inc()
			continue
		}
		b.Entries = append(b.Entries, journal.Sealed{Key: e.Key, Data: data})
	}
	f.metrics.sealed.Add(float64(len(b.Entries)))
	return b
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
		out := f.send(ctx, data)
		if out.Err == nil {
			f.arrived(b, out.Refused)
			return
		}
		f.metrics.retries.WithLabelValues(out.Code).Inc()
		if try == 0 || try%10 == 0 {
			f.config.Log.Warn("the entries have not arrived and are sent again", zap.Int("entries", len(data)),
				zap.Int("tries", try+1), zap.String("code", out.Code), zap.Error(out.Err))
		}
		if !sleep(ctx, pause(try, out.Slow)) {
			f.unsentSealed(b)
			return
		}
	}
}

func (f *Forwarder) send(ctx context.Context, data [][]byte) Outcome {
	if len(data) == 0 {
		return Outcome{}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	begin := time.Now()
	defer func() { f.metrics.sendSeconds.Observe(time.Since(begin).Seconds()) }()
	return f.config.Sink.Send(ctx, data)
}

func (f *Forwarder) arrived(b *journal.Batch, refused map[int]string) {
	f.dead(b, refused)
	f.metrics.acknowledged.Add(float64(len(b.Entries) - len(refused)))
	if f.config.Journal != nil && f.config.Journal.Waiting() != nil {
		if err := f.config.Journal.Ack(); err != nil {
			f.config.Log.Error("an acknowledgement is not in the journal: after a crash the batch is sent again, unchanged", zap.Error(err))
		}
	}
}

// pause grows from 0.2 s twofold, to 5 s, or to 30 s for what heals slowly, and is spread evenly over its second half.
func pause(try int, slow bool) time.Duration {
	limit := 5 * time.Second
	if slow {
		limit = 30 * time.Second
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
	f.metrics.unsent.Add(float64(len(b.Entries)))
	f.config.Log.Warn("the end came before these entries had arrived; they are written out", zap.Int("entries", len(b.Entries)))
	for i := range b.Entries {
		if line, err := f.config.Sink.Line(b.Entries[i].Data); err == nil {
			fmt.Fprintf(f.config.Unsent, "%s\n", line)
		}
	}
}
