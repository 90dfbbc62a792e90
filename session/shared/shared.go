// Package shared passes on between sidecars, through a Valkey or Redis server, which session the app's cookies belong to.
//
// Nothing depends on it: what cannot be told or asked at once is dropped and counted.
package shared

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/session"
)

const (
	// waiting bounds what has not been sent yet; a batch is what goes out together.
	waiting, batch = 1024, 64
	// patience bounds each step of the talk with the server: a session is needed within seconds or not at all.
	patience = time.Second
	// A server that fails is left alone for a while, at last for so long.
	firstPause, lastPause = 100 * time.Millisecond, 10 * time.Second
	// kept is how long the server keeps a value that no sidecar tells of: longer than a session lives without a sign.
	kept = 35 * time.Minute
	// prefix is before every key, so that an ACL can name ours: ~openreplay-sessions:*
	prefix = "openreplay-sessions:"
)

// A Server is where to share, and the key of the hashes that all who share have.
type Server struct {
	url string
	Key []byte
}

// Read takes a file whose first line is the server's address: redis://USER:PASSWORD@HOST:PORT/DB, with TLS rediss://. All of the
// file makes the key, so that it is as secret as the password; where there is none, a further line of random text has to be there.
func Read(path string) (*Server, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	address, secret, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	address = strings.TrimSpace(address)
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "":
		return nil, fmt.Errorf("%s: the first line is no address like redis://USER:PASSWORD@HOST:PORT or rediss://...", path)
	case secret == "" && u.User == nil:
		return nil, fmt.Errorf("%s: there is neither a password nor a second line: write random text there, the same for all pods", path)
	}
	key := sha256.Sum256(bytes.TrimSpace(text))
	return &Server{address, key[:]}, nil
}

// A Client is a session.Shared. Until Run it keeps what it is told.
type Client struct {
	server *Server
	log    *zap.Logger
	queue  chan item
	counts *prometheus.CounterVec
	up     prometheus.Gauge
}

// An item is something to tell, or without a session and without doubt a question.
type item struct {
	key  uint64
	news session.News
}

// New makes a Client; reg and log may be nil.
func New(server *Server, log *zap.Logger, reg prometheus.Registerer) *Client {
	if log == nil {
		log = zap.NewNop()
	}
	auto := promauto.With(reg)
	return &Client{server: server, log: log, queue: make(chan item, waiting),
		counts: auto.NewCounterVec(prometheus.CounterOpts{Name: "sidecar_session_shared_total",
			Help: "What was to be shared with other sidecars, by what came of it."}, []string{"result"}),
		up: auto.NewGauge(prometheus.GaugeOpts{Name: "sidecar_session_shared_up", Help: "Whether the server of shared sessions answered last time."})}
}

// Tell is session.Shared's.
func (c *Client) Tell(key uint64, n session.News) { c.put(item{key, n}) }

// Ask is session.Shared's.
func (c *Client) Ask(key uint64) { c.put(item{key: key}) }

func (c *Client) put(i item) {
	select {
	case c.queue <- i:
	default:
		c.counts.WithLabelValues("dropped").Inc()
	}
}

// Run talks with the server until ctx is done. heard is given what others know.
func (c *Client) Run(ctx context.Context, heard func(key uint64, all []session.News)) {
	var conn redis.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	pause := time.Duration(0) // 0 while the server answers
	for {
		items := c.next(ctx)
		if items == nil {
			return
		}
		var err error
		conn, err = c.send(ctx, conn, items, heard)
		switch {
		case err == nil:
			if c.up.Set(1); pause > 0 {
				c.log.Info("sessions are shared with other pods again")
			}
			pause = 0
			continue
		case ctx.Err() != nil:
			return
		case pause == 0:
			c.log.Warn("sessions are not shared with other pods for now; nothing else depends on it", zap.Error(err))
		}
		c.up.Set(0)
		c.counts.WithLabelValues("failed").Add(float64(len(items)))
		pause = min(max(2*pause, firstPause), lastPause)
		if !c.rest(ctx, pause) {
			return
		}
	}
}

// send hands items over on conn, or on a new connection where that is nil or was closed while it was idle, which is no failure
// of the server. It gives the connection that is left, nil where none is.
func (c *Client) send(ctx context.Context, conn redis.Conn, items []item, heard func(uint64, []session.News)) (redis.Conn, error) {
	if conn != nil {
		if c.exchange(conn, items, heard) == nil {
			return conn, nil
		}
		conn.Close()
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.exchange(conn, items, heard); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// next waits for something to send, and takes what else is there.
func (c *Client) next(ctx context.Context) (items []item) {
	select {
	case <-ctx.Done():
		return nil
	case i := <-c.queue:
		items = append(items, i)
	}
	for len(items) < batch {
		select {
		case i := <-c.queue:
			items = append(items, i)
		default:
			return items
		}
	}
	return items
}

// rest leaves the server alone. What comes meanwhile would be too old afterwards.
func (c *Client) rest(ctx context.Context, pause time.Duration) bool {
	over := time.After(pause)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-over:
			return true
		case <-c.queue:
			c.counts.WithLabelValues("failed").Inc()
		}
	}
}

func (c *Client) dial(ctx context.Context) (redis.Conn, error) {
	conn, err := redis.DialURLContext(ctx, c.server.url,
		redis.DialConnectTimeout(patience), redis.DialReadTimeout(patience), redis.DialWriteTimeout(patience), redis.DialTLSHandshakeTimeout(patience))
	if err != nil {
		return nil, err // redigo returns a typed nil
	}
	return conn, nil
}

// exchange sends items together, and takes in the answers.
func (c *Client) exchange(conn redis.Conn, items []item, heard func(uint64, []session.News)) error {
	var answers []int // to how many commands each item was made
	for _, i := range items {
		commands := i.commands()
		for _, command := range commands {
			if err := conn.Send(command.name, command.args...); err != nil {
				return err
			}
		}
		answers = append(answers, len(commands))
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	for n, i := range items {
		for range answers[n] {
			answer, err := conn.Receive()
			if err != nil {
				return err
			}
			if i.asks() {
				c.answered(i.key, answer, heard)
			}
		}
	}
	return nil
}

type command struct {
	name string
	args []any
}

func (i item) asks() bool { return i.news == session.News{} }

// commands keep of each value a hash: of every session m..., its last sign, number and token, and s..., its first sign; and d,
// when the browser last came in from outside.
func (i item) commands() []command {
	key := prefix + strconv.FormatUint(i.key, 36)
	n := i.news
	expire := command{"PEXPIRE", []any{key, kept.Milliseconds()}}
	switch {
	case i.asks():
		return []command{{"HGETALL", []any{key}}}
	case !n.Doubt.IsZero():
		return []command{{"HSET", []any{key, "d", n.Doubt.UnixNano()}}, expire}
	}
	mark := strconv.FormatUint(n.Number, 10)
	if n.Number == 0 {
		mark = n.Token
	}
	return []command{
		{"HSETNX", []any{key, "s" + mark, n.Since.UnixNano()}},
		{"HSET", []any{key, "m" + mark, fmt.Sprintf("%d %d %s", n.Seen.UnixNano(), n.Number, n.Token)}},
		expire,
	}
}

// answered takes in what is kept of a value. What is not understood is left out: a newer sidecar may have written it.
func (c *Client) answered(key uint64, answer any, heard func(uint64, []session.News)) {
	fields, err := redis.StringMap(answer, nil)
	if err != nil {
		return
	}
	var all []session.News
	for name, text := range fields {
		if name == "d" {
			if t, ok := moment(text); ok {
				all = append(all, session.News{Doubt: t})
			}
			continue
		}
		mark, ok := strings.CutPrefix(name, "m")
		if !ok {
			continue
		}
		parts := strings.SplitN(text, " ", 3)
		if len(parts) < 3 {
			continue
		}
		seen, ok := moment(parts[0])
		number, err := strconv.ParseUint(parts[1], 10, 64)
		since, known := moment(fields["s"+mark])
		if !ok || err != nil || !known {
			continue
		}
		all = append(all, session.News{Token: parts[2], Number: number, Seen: seen, Since: since})
	}
	result := "unknown"
	if len(all) > 0 {
		result = "heard"
		heard(key, all)
	}
	c.counts.WithLabelValues(result).Inc()
}

func moment(nanos string) (time.Time, bool) {
	n, err := strconv.ParseInt(nanos, 10, 64)
	return time.Unix(0, n), err == nil
}
