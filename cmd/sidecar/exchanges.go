package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/enrich/table"
	"github.com/openreplay/log-sidecar/proxy"
)

// A recorded exchange is a line of --record-exchanges. It has the session's token: the file is for its owner alone.
type recorded struct {
	ID         string         `json:"id"`
	Session    string         `json:"session,omitempty"`
	SessionID  uint64         `json:"sessionId,omitempty,string"`
	SessionBy  string         `json:"sessionBy,omitempty"`
	Method     string         `json:"method"`
	Target     string         `json:"target"`
	Client     string         `json:"client,omitempty"`
	IDs        []string       `json:"ids,omitempty"`
	AppSession uint64         `json:"appSession,omitempty,string"`
	Upstream   netip.AddrPort `json:"upstream"`
	Begin      time.Time      `json:"begin"`
	Head       time.Time      `json:"head"`
	End        time.Time      `json:"end"`
	Status     int            `json:"status"`
	Streams    bool           `json:"streams,omitempty"`
}

// A recorder writes every exchange that has ended to a file, for `sidecar try --exchanges`, and passes all on.
type recorder struct {
	proxy.Observer
	mu  sync.Mutex
	out *json.Encoder
}

func newRecorder(next proxy.Observer, path string) (*recorder, *os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("--record-exchanges: %w", err)
	}
	return &recorder{Observer: next, out: json.NewEncoder(file)}, file, nil
}

func (r *recorder) End(x *enrich.Exchange) {
	r.Observer.End(x)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Encode(recordOf(x))
}

func recordOf(x *enrich.Exchange) recorded {
	return recorded{x.ID, x.Session, x.SessionID, x.SessionBy, x.Method, x.Target, x.Client, x.IDs, x.AppSession,
		x.Upstream, x.Begin, x.Head, x.End, x.Status, x.Streams}
}

func (r *recorded) exchange() enrich.Exchange {
	return enrich.Exchange{ID: r.ID, Session: r.Session, SessionID: r.SessionID, SessionBy: r.SessionBy, Method: r.Method,
		Target: r.Target, Client: r.Client, IDs: r.IDs, AppSession: r.AppSession, Upstream: r.Upstream,
		Begin: r.Begin, Head: r.Head, End: r.End, Status: r.Status, Streams: r.Streams}
}

// readExchanges fills a table with what a recorder wrote, and says when the first exchange began and the last one ended.
func readExchanges(path string) (h enrich.Hindsight, closing func() error, err error) {
	file, err := os.Open(path)
	if err != nil {
		return h, nil, fmt.Errorf("--exchanges: %w", err)
	}
	defer file.Close()
	t, err := table.Open(table.Config{Size: 256 << 20})
	if err != nil {
		return h, nil, err
	}
	h.Exchanges = t
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var r recorded
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Close()
			return h, nil, fmt.Errorf("--exchanges %s:%d: %w", path, n, err)
		}
		x := r.exchange()
		t.Begin(&x)
		t.End(&x)
		if h.From.IsZero() || x.Begin.Before(h.From) {
			h.From = x.Begin
		}
		if x.End.After(h.To) {
			h.To = x.End
		}
	}
	return h, t.Close, lines.Err()
}
