package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/enrich/tail"
	"github.com/openreplay/log-sidecar/forwarder"
	"github.com/openreplay/log-sidecar/forwarder/cloudlogging"
	"github.com/openreplay/log-sidecar/forwarder/journal"
	"github.com/openreplay/log-sidecar/session"
)

// A delivery runs tail, enrich and forwarder, and starts them anew, from what is on disk, when one of them panics.
// Requests go on meanwhile. A restart is the same as after a SIGKILL, so there is one way to recover and not two.
type delivery struct {
	*sidecar
	metrics  *gatherers
	restarts *prometheus.CounterVec
	skipped  prometheus.Counter
	poison   poison
	reading  poison // the block that enrich was given last

	soft       context.Context // done: read to the end, send what is left, end
	softCancel context.CancelFunc
	send       context.Context // done: write out what cannot be sent any more
	sendCancel context.CancelFunc
	hard       context.Context // done: end now
	hardCancel context.CancelFunc
}

func newDelivery(s *sidecar) *delivery {
	d := &delivery{sidecar: s, metrics: &gatherers{base: s.base}}
	d.soft, d.softCancel = context.WithCancel(context.Background())
	d.send, d.sendCancel = context.WithCancel(context.Background())
	d.hard, d.hardCancel = context.WithCancel(context.Background())
	d.restarts = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sidecar_part_restarts_total",
		Help: "Times that reading and delivering was started anew, by the part that failed."}, []string{"part"})
	d.skipped = prometheus.NewCounter(prometheus.CounterOpts{Name: "sidecar_poison_bytes_total",
		Help: "Bytes of log files that were passed over because they made the sidecar fail three times."})
	s.base.MustRegister(d.restarts, d.skipped)
	return d
}

// writeOut is the most time of a stop in which what cannot be sent any more is read to the end and written out; it has half of
// the time that is left when the last request has ended.
const writeOut = 5 * time.Second

// stop ends the delivery in order, or at once when the time is over.
func (d *delivery) stop(within time.Duration) {
	within = max(within, 0)
	time.AfterFunc(within-min(within/2, writeOut), d.sendCancel)
	time.AfterFunc(within, d.hardCancel)
	d.softCancel()
}

// run delivers until stop was called.
func (d *delivery) run() {
	for try := 0; ; try++ {
		began := time.Now()
		err := d.once()
		if err == nil || d.hard.Err() != nil {
			return
		}
		part := "start"
		var p *panicError
		if errors.As(err, &p) {
			part = p.part
		}
		if part == "enrich" {
			d.poison.strike(d.reading)
		}
		d.restarts.WithLabelValues(part).Inc()
		d.log.Error("a part failed and starts again; requests go on", zap.String("part", part), zap.Error(err))
		if time.Since(began) > time.Minute {
			try = 0
		}
		select {
		case <-time.After(min(30*time.Second, 100*time.Millisecond<<min(try, 10))):
		case <-d.hard.Done():
			return
		}
	}
}

// once runs the parts until they have ended in order, or one of them failed.
func (d *delivery) once() error {
	reg := d.metrics.fresh()
	hard, fail := context.WithCancelCause(d.hard)
	defer fail(nil)
	books := d.openJournal()
	if books != nil {
		defer books.Close()
	}
	logs, err := tail.New(d.reads(reg))
	if err != nil {
		return err
	}
	defer logs.Close()
	ledger := enrich.NewLedger(reg)
	out, closeOut := d.newForwarder(books, logs, ledger, reg)
	defer closeOut()
	join := enrich.New(enrich.Config{Exchanges: d.table, Sessions: d.sessions(), MinSeverity: d.config.MinSeverity,
		Unmatched: d.config.Forward == "errors", Ignore: d.config.Ignore, SilentFailures: d.config.SilentFailures,
		Infer: inferFrom(d.config.Infer),
		Out:   out.Put, Ledger: ledger, Owed: d.failures.owed, Settle: d.failures.settle, Log: d.log, Registerer: reg})

	soft, stopReading := context.WithCancel(d.soft)
	defer stopReading()
	passing, stopTime := context.WithCancel(hard)
	defer stopTime()
	var group sync.WaitGroup
	start := func(part string, f func() error) {
		group.Go(func() {
			if err := guard(part, f); err != nil {
				fail(err)
				stopReading()
			}
		})
	}
	start("enrich", func() error { return join.Run(passing) })
	start("forwarder", func() error { return out.Run(hard, d.send) })
	start("tail", func() error {
		err := logs.Run(soft, func(b *tail.Block) error { return d.read(hard, join, b) })
		if err != nil || hard.Err() != nil {
			return err
		}
		err = guard("enrich", func() error { return join.Finish(hard) })
		stopTime()
		out.Close()
		return err
	})
	group.Wait()
	if err := logs.Checkpoint(); err != nil {
		d.log.Error("the checkpoint of the log files cannot be written", zap.Error(err))
	}
	if err := context.Cause(hard); err != nil && d.hard.Err() == nil {
		return err
	}
	return nil
}

// sessions is nil, and not a nil memory, where nothing is learned.
func (d *delivery) sessions() enrich.Sessions {
	if d.learned == nil {
		return nil
	}
	return d.learned
}

// read hands a block on. One that made the sidecar fail three times is passed over.
func (d *delivery) read(ctx context.Context, join *enrich.Joiner, b *tail.Block) (err error) {
	d.reading = poison{b.File.ID, b.Offset, 0}
	if d.poison.struck(d.reading) {
		d.skipped.Add(float64(len(b.Data)))
		d.log.Error("bytes that made the sidecar fail three times are passed over", zap.String("path", b.File.Path),
			zap.Int64("offset", b.Offset), zap.Int("bytes", len(b.Data)))
		return nil
	}
	return guard("enrich", func() error { return join.Read(ctx, b) })
}

// poison is a block that was being read when enrich panicked, and how often that happened without another in between.
type poison struct {
	file    string
	offset  int64
	strikes int
}

func (p *poison) strike(b poison) {
	if p.file != b.file || p.offset != b.offset {
		*p = b
	}
	p.strikes++
}

func (p *poison) struck(b poison) bool {
	return p.file == b.file && p.offset == b.offset && p.strikes >= 3
}

// A panicError is a panic that was caught at the root of a part.
type panicError struct {
	part  string
	value any
	stack []byte
}

func (p *panicError) Error() string {
	return fmt.Sprintf("%s: panic: %v\n%s", p.part, p.value, p.stack)
}

func guard(part string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{part, v, debug.Stack()}
		}
	}()
	fault(part)
	return f()
}

// reads is how the logs are read.
func (s *sidecar) reads(reg prometheus.Registerer) tail.Config {
	return tail.Config{Globs: s.config.Logs, From: tailFrom(s.config.From), Survey: s.survey,
		Checkpoint: filepath.Join(s.config.State, "checkpoint"), Spool: filepath.Join(s.config.State, "streams"),
		Bound: s.config.LogsRoom, Free: s.config.FreeLogs, Log: s.log, Registerer: reg}
}

func tailFrom(from string) tail.From {
	return map[string]tail.From{"auto": tail.Auto, "beginning": tail.Beginning, "end": tail.End}[from]
}

func inferFrom(infer string) enrich.Infer {
	return map[string]enrich.Infer{"path": enrich.InferPath, "kind": enrich.InferKind, "nothing": enrich.InferNothing}[infer]
}

// openJournal gives nil where there is no room for one: errors are delivered all the same.
func (d *delivery) openJournal() *journal.Journal {
	j, err := journal.Open(filepath.Join(d.config.State, "journal"))
	if err != nil {
		d.log.Error("no journal: what is on its way at a crash may be doubled", zap.Error(err))
		return nil
	}
	return j
}

func (d *delivery) newForwarder(books *journal.Journal, logs *tail.Tailer, ledger *enrich.Ledger, reg prometheus.Registerer) (*forwarder.Forwarder, func()) {
	sink, closeSink := d.sink()
	dead, closeDead := d.deadLetters()
	f := forwarder.New(forwarder.Config{
		Sink: sink, State: d.id, Journal: books, Positions: d.positions(logs), DeadLetters: dead, Unsent: d.process.stdout,
		Pace: d.config.Pace, EventTime: d.config.Timestamp == "event", Redact: d.config.Redact, Link: d.link(),
		Repeats: d.config.FoldRepeats, Service: d.config.K8sContainer, Ledger: ledger, Log: d.log, Registerer: reg,
	})
	return f, func() { closeSink(); closeDead() }
}

// positions writes the checkpoint of the log files and then says which bytes come again after a kill.
func (d *delivery) positions(logs *tail.Tailer) func() func(journal.Key) bool {
	return func() func(journal.Key) bool {
		if err := logs.Checkpoint(); err != nil {
			d.log.Error("the checkpoint of the log files cannot be written", zap.Error(err))
		}
		again := logs.ReadAgain()
		return func(k journal.Key) bool { return again(k.File, k.Offset) }
	}
}

func (d *delivery) sink() (forwarder.Sink, func()) {
	switch d.config.Sink {
	case "stdout":
		return forwarder.Stdout{W: d.process.stdout, Project: d.config.Project}, func() {}
	case "none":
		return forwarder.Discard{}, func() {}
	}
	s := cloudlogging.New(d.config.cloudLogging())
	return s, func() { s.Close() }
}

func (c *config) cloudLogging() cloudlogging.Config {
	return cloudlogging.Config{Project: c.Project, LogName: c.LogName, Endpoint: c.Endpoint, Plaintext: c.Plaintext, Pod: c.pod()}
}

// namespaceFile is where Kubernetes tells a pod's namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// pod is the pod that we are in; nil outside of Kubernetes.
func (c *config) pod() *cloudlogging.Pod {
	p := cloudlogging.Pod{Location: c.K8sLocation, Cluster: c.K8sCluster, Namespace: c.K8sNamespace, Name: c.K8sPod, Container: c.K8sContainer}
	if _, in := os.LookupEnv("KUBERNETES_SERVICE_HOST"); in && p.Name == "" {
		p.Name, _ = os.Hostname()
	}
	if p.Name == "" {
		return nil
	}
	if content, err := os.ReadFile(namespaceFile); err == nil && p.Namespace == "" {
		p.Namespace = strings.TrimSpace(string(content))
	}
	return &p
}

// maxDeadLetters is the most bytes of dead letters that are kept; a second file has as many of the older ones.
const maxDeadLetters = 1 << 20

func (d *delivery) deadLetters() (io.Writer, func()) {
	path := filepath.Join(d.config.State, "dead-letters.jsonl")
	if info, err := os.Stat(path); err == nil && info.Size() > maxDeadLetters {
		os.Rename(path, path+".1")
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, func() {}
	}
	return file, func() { file.Close() }
}

// link gives the address of a moment in a replay, where OpenReplay's address is configured.
func (d *delivery) link() func(session.ID, time.Time) string {
	if d.config.OpenReplayURL == "" {
		return nil
	}
	base := strings.TrimRight(d.config.OpenReplayURL, "/") + "/" + url.PathEscape(d.config.OpenReplayProject) + "/session/"
	return func(id session.ID, t time.Time) string {
		at := math.Max(0, float64(t.Sub(id.Start()).Milliseconds()))
		return fmt.Sprintf("%s%s?jumpto=%.0f", base, id, at)
	}
}

// gatherers are the metrics of the program and those of the present run of the delivery, which counts from 0 again after
// a restart, as the metrics of a restarted process do.
type gatherers struct {
	base prometheus.Gatherer
	mu   sync.Mutex
	run  *prometheus.Registry
}

func (g *gatherers) fresh() *prometheus.Registry {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.run = prometheus.NewRegistry()
	return g.run
}

// Gather gives both.
func (g *gatherers) Gather() ([]*dto.MetricFamily, error) {
	g.mu.Lock()
	run := g.run
	g.mu.Unlock()
	if run == nil {
		return g.base.Gather()
	}
	return prometheus.Gatherers{g.base, run}.Gather()
}
