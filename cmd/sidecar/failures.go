package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/forwarder/journal"
	"github.com/openreplay/log-sidecar/proxy"
)

// Failures are the exchanges of sessions that were answered 500 or above and of which nothing was delivered yet. No file has
// them, so they are kept on a shelf: a next life goes on with what this one owes.
type failures struct {
	proxy.Observer
	shelf  *journal.Shelf
	unkept prometheus.Counter
	log    *zap.Logger
}

// keepFailures puts the shelf before the table. Without it failures are delivered all the same, but for those of the last
// seconds before a crash.
func (s *sidecar) keepFailures() {
	if !s.config.SilentFailures {
		return
	}
	shelf, err := journal.OpenShelf(filepath.Join(s.config.State, "failures"))
	if err != nil {
		s.log.Error("failed exchanges are kept in memory alone: after a crash, those of which no error was logged may be missing", zap.Error(err))
		return
	}
	s.failures = &failures{Observer: s.observer, shelf: shelf, log: s.log, unkept: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sidecar_failures_unkept_total", Help: "Failed exchanges that a crash would have taken along: too many waited, or the disk failed."})}
	s.base.MustRegister(s.failures.unkept)
	s.observer = s.failures
	if at := s.table.Recovery.At; !at.IsZero() { // what a crash cut off in its answer
		s.table.During(at, at, func(x enrich.Exchange) bool {
			if x.End.Equal(at) {
				s.failures.keep(&x)
			}
			return true
		})
	}
}

// End keeps an exchange before the table knows that it has ended, and so before anyone can be done with it.
func (f *failures) End(x *enrich.Exchange) {
	f.keep(x)
	f.Observer.End(x)
}

func (f *failures) keep(x *enrich.Exchange) {
	if x.Status < 500 || !x.HasSession() {
		return
	}
	kept := recordOf(x)
	kept.Target, _, _ = strings.Cut(kept.Target, "?")
	kept.Target = strings.ToValidUTF8(kept.Target[:min(len(kept.Target), 256)], "")
	kept.IDs = nil
	thing, err := json.Marshal(kept)
	if err == nil {
		err = f.shelf.Put(failureKey(x), thing)
	}
	if err != nil {
		f.unkept.Inc()
	}
}

func failureKey(x *enrich.Exchange) string { return fmt.Sprint(x.Begin.UnixNano(), " ", x.ID) }

// owed are the failures of which nothing was delivered.
func (f *failures) owed() (all []*enrich.Exchange) {
	if f == nil {
		return nil
	}
	for _, thing := range f.shelf.All() {
		var kept recorded
		if json.Unmarshal(thing, &kept) == nil {
			x := kept.exchange()
			all = append(all, &x)
		}
	}
	return all
}

// settle says that nothing is owed for an exchange any more.
func (f *failures) settle(x *enrich.Exchange) {
	if f == nil {
		return
	}
	if err := f.shelf.Done(failureKey(x)); err != nil {
		f.log.Error("a failed exchange stays among those of which nothing was delivered", zap.Error(err))
	}
}

func (f *failures) close() {
	if f != nil {
		f.shelf.Close()
	}
}
