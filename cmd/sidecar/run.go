package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/enrich/table"
	"github.com/openreplay/log-sidecar/enrich/tail"
	"github.com/openreplay/log-sidecar/internal/admin"
	"github.com/openreplay/log-sidecar/proxy"
	"github.com/openreplay/log-sidecar/session"
	"github.com/openreplay/log-sidecar/session/shared"
	"github.com/openreplay/log-sidecar/tracker"
)

// run stands in front of the app, tails its logs and delivers, until ctx is done.
func run(ctx context.Context, p process, args []string) error {
	c, warnings, err := load(args, p.environ)
	log := newLog(p.stderr)
	defer log.Sync()
	for _, w := range warnings {
		log.Warn(w)
	}
	if err != nil {
		return err
	}
	s := &sidecar{config: c, log: log, process: p, base: prometheus.NewRegistry()}
	s.base.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s.run(ctx)
}

// A sidecar is one life of the program.
type sidecar struct {
	config  *config
	log     *zap.Logger
	process process
	base    *prometheus.Registry // the metrics that live as long as the program
	table   *table.Table
	learned *session.Memory // nil where nothing is learned
	// observer hears of every exchange: the table, or what stands before it
	observer proxy.Observer
	failures *failures // nil: they are not kept
	proxies  []*proxy.Proxy
	failed   chan error // why a listener ended by itself
	id       string     // the state directory's random ID
	survey   *tail.Survey
}

// settled is when also what only the first connections need has been needed.
const settled = 2 * time.Second

func (s *sidecar) run(ctx context.Context) error {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	s.failed = make(chan error, 2+len(s.config.Ports))
	s.prepareState()
	s.id = s.stateID()
	if err := s.openTable(); err != nil {
		return err
	}
	defer s.table.Close()
	closeSessions, err := s.openSessions()
	if err != nil {
		return err
	}
	defer closeSessions()

	closeRecorder, err := s.observe()
	if err != nil {
		return err
	}
	defer closeRecorder()
	defer s.failures.close()

	delivery := newDelivery(s)
	// What the app writes from the first request on is read, whenever the reading begins.
	s.survey = tail.Look(s.reads(nil), time.Second)
	servers, err := s.listen(delivery.metrics, quit)
	if err != nil {
		return err
	}
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		delivery.run()
	}()

	s.log.Info("the sidecar is up", zap.String("version", versionText()), zap.Any("ports", s.config.Ports),
		zap.Strings("logs", s.config.Logs), zap.String("sink", s.config.Sink))
	s.sayLogs()
	unmapProgram()
	defer time.AfterFunc(settled, unmapProgram).Stop()
	select {
	case <-ctx.Done():
		err = nil
	case err = <-s.failed:
	}
	s.stop(delivery, delivered)
	for _, server := range servers {
		server.Close()
	}
	return err
}

// stop ends in the order in which data flows, within the drain time: no more requests, then the last of the logs, then
// what is still on its way. A quarter of the time is kept for the latter two.
func (s *sidecar) stop(delivery *delivery, delivered chan struct{}) {
	begin := time.Now()
	s.log.Info("ending", zap.Duration("within", s.config.Drain))
	requests, cancel := context.WithTimeout(context.Background(), s.config.Drain*3/4)
	defer cancel()
	var group sync.WaitGroup
	for _, p := range s.proxies {
		group.Go(func() {
			if err := p.Shutdown(requests); err != nil {
				s.log.Warn("requests were still open at the end of their time", zap.Error(err))
			}
		})
	}
	group.Wait()
	delivery.stop(s.config.Drain - time.Since(begin))
	<-delivered
	s.log.Info("ended", zap.Duration("after", time.Since(begin)))
}

// prepareState makes the state directory. Without it requests are served and errors delivered all the same; what it
// costs is said.
func (s *sidecar) prepareState() {
	if err := os.MkdirAll(s.config.State, 0o700); err != nil {
		s.log.Error("the state directory cannot be made: after a restart errors may be missed or doubled; set --state to a directory that this user can write",
			zap.String("path", s.config.State), zap.Error(err))
	}
}

// sayLogs says what would else look as if nothing happened.
func (s *sidecar) sayLogs() {
	if len(s.config.Logs) == 0 {
		s.log.Warn("no log files are given, so no error can be found: set --logs")
	}
	for _, glob := range s.config.Logs {
		if matches, err := filepath.Glob(glob); err == nil && len(matches) == 0 && glob != tail.Standard {
			s.log.Info("no log file matches yet; it is picked up when it appears", zap.String("glob", glob))
		}
	}
}

// stateID is the random name of the state directory, made once. Where it cannot be kept, this life has its own.
func (s *sidecar) stateID() string {
	path := filepath.Join(s.config.State, "id")
	if content, err := os.ReadFile(path); err == nil && len(content) == 16 {
		return string(content)
	}
	var random [8]byte
	rand.Read(random[:])
	id := hex.EncodeToString(random[:])
	if err := renameio.WriteFile(path, []byte(id), 0o600); err != nil {
		s.log.Error("the state directory's ID cannot be kept: after a crash an entry may be doubled", zap.Error(err))
	}
	return id
}

// openTable falls back to memory that does not survive a crash.
func (s *sidecar) openTable() (err error) {
	c := table.Config{Path: s.config.Table, Size: s.config.TableSize, Registerer: s.base}
	if c.Path == "" {
		c.Path = filepath.Join(s.config.State, "table")
	}
	if s.table, err = table.Open(c); err == nil {
		s.sayRecovery()
		return nil
	}
	s.log.Error("the exchanges are kept in memory alone: after a crash, errors of requests before it have no session", zap.Error(err))
	c.Path = ""
	s.table, err = table.Open(c)
	return err
}

// openSessions falls back to memory, as the table does.
func (s *sidecar) openSessions() (closeAll func(), err error) {
	if !s.config.LearnSessions {
		return func() {}, nil
	}
	c := session.Config{Path: s.config.Sessions, Size: s.config.SessionsSize, Key: []byte(s.id), Registerer: s.base}
	client := s.shareSessions(&c)
	if c.Path == "" {
		c.Path = filepath.Join(s.config.State, "sessions")
	}
	if s.learned, err = session.Open(c); err != nil {
		s.log.Error("what is learned of sessions is kept in memory alone, and gone after a crash", zap.Error(err))
		c.Path = ""
		if s.learned, err = session.Open(c); err != nil {
			return nil, err
		}
	}
	if s.learned.SetAside != "" {
		s.log.Warn("the sessions of the last life cannot be trusted: " + s.learned.SetAside)
	}
	if s.learned.Held > 0 {
		s.log.Info("the sessions of the last life are there", zap.Int("cookies", s.learned.Held))
	}
	life, end := context.WithCancel(context.Background())
	var background sync.WaitGroup
	beside := func(part string, f func()) { // what fails here costs sessions, never a request
		background.Go(func() {
			if err := guard(part, func() error { f(); return nil }); err != nil {
				s.log.Error("a part beside the proxy failed, and stays away; requests go on", zap.Error(err))
			}
		})
	}
	if client != nil {
		beside("shared sessions", func() { client.Run(life, s.learned.Heard) })
	}
	beside("forgetting sessions", func() {
		for tick := time.Tick(forgetting); ; {
			select {
			case <-tick:
				s.learned.Forget()
			case <-life.Done():
				return
			}
		}
	})
	return func() {
		end()
		background.Wait()
		s.learned.Close()
	}, nil
}

// forgetting is how often sessions that are over are wiped.
const forgetting = 10 * time.Minute

// shareSessions has what is learned told to other pods, where that is asked for.
func (s *sidecar) shareSessions(c *session.Config) *shared.Client {
	if s.config.SharedSessions == "" {
		return nil
	}
	server, err := shared.Read(s.config.SharedSessions)
	if err != nil {
		s.log.Error("sessions are not shared with other pods: look at --shared-sessions", zap.Error(err))
		return nil
	}
	client := shared.New(server, s.log, s.base)
	c.Key, c.Shared = server.Key, client
	return client
}

// observe puts the recorder before the table where one is asked for.
func (s *sidecar) observe() (done func(), err error) {
	s.observer = s.table
	s.keepFailures()
	if s.config.RecordExchanges == "" {
		return func() {}, nil
	}
	r, file, err := newRecorder(s.observer, s.config.RecordExchanges)
	if err != nil {
		return nil, err
	}
	s.observer = r
	return func() { file.Close() }, nil
}

func (s *sidecar) sayRecovery() {
	if s.table.SetAside != "" {
		s.log.Warn("the exchanges of the last life cannot be trusted: " + s.table.SetAside)
	}
	if r := s.table.Recovery; !r.At.IsZero() {
		s.log.Info("the exchanges of the last life are there", zap.Int("held", r.Held), zap.Int("open", r.Closed), zap.Int("damaged", r.Dropped))
	}
}

// listen opens every listener, so that an address in use is said at once and not when the first request comes.
func (s *sidecar) listen(metrics prometheus.Gatherer, quit func()) (servers []*http.Server, err error) {
	for _, p := range s.config.Ports {
		if err := s.serveApp(p); err != nil {
			return nil, err
		}
	}
	health := admin.Health(s.ready, metrics)
	control := admin.Admin(versionText(), metrics, quit)
	for _, l := range []struct {
		option, addr string
		handler      http.Handler
	}{{"--health", s.config.Health, health}, {"--admin", s.config.Admin, control}} {
		listener, err := listenTCP(l.option, l.addr)
		if err != nil {
			return nil, err
		}
		server := &http.Server{Handler: l.handler, ReadHeaderTimeout: 5 * time.Second, ErrorLog: zap.NewStdLog(s.log)}
		servers = append(servers, server)
		go func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				s.failed <- fmt.Errorf("%s: %w", l.option, err)
			}
		}()
	}
	return servers, nil
}

func (s *sidecar) serveApp(p port) error {
	c := s.config
	inPages, relayTo, err := c.tracker()
	if err != nil {
		return err
	}
	front, err := proxy.New(proxy.Config{
		App: p.App, AppCA: c.AppCA, AppServerName: c.AppName,
		SessionHeaders: c.SessionHeaders, RequestIDHeader: c.RequestIDHeader,
		AnswerRequestID: c.AnswerRequestID, TraceParent: c.TraceParent, ForwardedFor: c.ForwardedFor,
		KeepClientAddress: c.KeepClientAddress, ConnectionAddress: c.ConnectionAddress,
		LocalOnly: append([]string{}, c.LocalOnly...), TLSCert: c.TLSCert, TLSKey: c.TLSKey,
		Sessions: s.learned, SessionCookie: c.SessionCookie, Tracker: inPages, Ingest: relayTo, Grace: c.Grace, Log: s.log,
	}, s.observer, s.registererOf(p))
	if err != nil {
		return err
	}
	listener, err := listenTCP("--listen", p.Listen)
	if err != nil {
		return err
	}
	s.proxies = append(s.proxies, front)
	go func() {
		if err := front.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("--listen %s: %w", p.Listen, err)
		}
	}()
	return nil
}

// tracker gives what is put into pages, nil for nothing, and where the tracker's calls are relayed to.
func (c *config) tracker() (inPages *tracker.Tracker, relayTo string, err error) {
	t := tracker.Config{ProjectKey: c.TrackerKey, Ingest: c.TrackerIngest, Consent: c.TrackerConsent}
	if !c.TrackerDirect && c.TrackerIngest != "" {
		t.Ingest, relayTo = tracker.IngestPath, c.TrackerIngest
	}
	if name := c.SessionHeaders[0]; !strings.EqualFold(name, "X-OpenReplay-SessionToken") {
		t.Header = name
	}
	if c.TrackerKey != "" {
		inPages, err = tracker.New(t)
	}
	return inPages, relayTo, err
}

// registererOf tells the metrics of several ports apart.
func (s *sidecar) registererOf(p port) prometheus.Registerer {
	if len(s.config.Ports) == 1 {
		return s.base
	}
	return prometheus.WrapRegistererWith(prometheus.Labels{"listen": p.Listen}, s.base)
}

func (s *sidecar) ready() error {
	for _, p := range s.proxies {
		if err := p.Ready(); err != nil {
			return err
		}
	}
	return nil
}

func listenTCP(option, addr string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s %s: another process listens there; free the port or choose another one", option, addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s %s: this user may not use that port; take one from 1024 on", option, addr)
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", option, addr, err)
	}
	return listener, nil
}
