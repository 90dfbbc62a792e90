package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// tunnel is a connection that has changed its protocol: bytes go to and fro until both sides are through. One side may
// close before the other, and each learns of it.
type tunnel struct {
	client net.Conn
	early  *bufio.Reader // what the client sent before it had the answer
	app    io.ReadWriteCloser
	conn   net.Conn // below app, for deadlines

	mu      sync.Mutex // guards what goes to the client
	frames  *frames    // nil where the protocol is not WebSocket
	leaving bool
	told    bool // the close frame is out: nothing may follow it

	telling sync.WaitGroup
}

// halfOpen is how long one side may be silent after the other has closed. Who closed may be gone altogether, and then
// nothing would ever end the connection.
const halfOpen = 5 * time.Minute

// tunnel answers 101 and stays until both sides are through.
func (x *exchange) tunnel(resp *http.Response) {
	app, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	client, rw, err := http.NewResponseController(x.answer.ResponseWriter).Hijack()
	if err != nil {
		app.Close()
		panic(http.ErrAbortHandler)
	}
	client.SetDeadline(time.Time{})
	t := &tunnel{client: client, early: rw.Reader, app: app, conn: x.link.conn}
	if strings.EqualFold(x.upgrade, "websocket") {
		t.frames = &frames{}
	}
	defer t.telling.Wait()
	defer t.cut()
	if err := writeHead(client, resp); err != nil {
		return
	}
	p := x.proxy
	p.metrics.tunnels.Inc()
	defer p.metrics.tunnels.Dec()
	p.tunnels.add(t)
	defer p.tunnels.remove(t)
	t.run()
}

func writeHead(w io.Writer, resp *http.Response) error {
	buf := bufio.NewWriter(w)
	fmt.Fprintf(buf, "HTTP/1.1 %s\r\n", resp.Status)
	resp.Header.Write(buf)
	io.WriteString(buf, "\r\n")
	return buf.Flush()
}

func (t *tunnel) run() {
	up := make(chan struct{})
	go func() {
		defer close(up)
		t.pass(t.app, io.MultiReader(io.LimitReader(t.early, int64(t.early.Buffered())), t.client), t.conn)
	}()
	t.pass(toClient{t}, t.app, t.client)
	<-up
}

// pass copies until from ends, and tells to so. Where to cannot be told, or from broke, all ends.
func (t *tunnel) pass(to io.Writer, from io.Reader, other net.Conn) {
	buf := pieces.Get().(*[32 << 10]byte)
	defer pieces.Put(buf)
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, buf[:])
	if err == nil {
		err = closeWrite(to)
	}
	if err != nil || t.farewell() {
		t.cut()
		return
	}
	other.SetReadDeadline(time.Now().Add(halfOpen))
}

// farewell says whether the client has been told to go: then neither side has anything to wait for.
func (t *tunnel) farewell() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told
}

// cut ends both sides at once.
func (t *tunnel) cut() {
	t.client.Close()
	t.app.Close()
}

// leave tells a WebSocket's client to go away, between two frames: 1001, as RFC 6455, 7.4.1 has it for a server that
// goes down. Its own close frame then ends the app's side.
func (t *tunnel) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaving = true
	if t.frames != nil && t.frames.between() {
		t.tell()
	}
}

var goingAway = []byte{0x88, 2, 1001 >> 8, 1001 & 0xff}

// tell runs under mu.
func (t *tunnel) tell() error {
	t.told = true
	_, err := t.client.Write(goingAway)
	return err
}

// toClient is the client's side to write to. It knows where frames end.
type toClient struct{ t *tunnel }

func (c toClient) Write(p []byte) (int, error) {
	t := c.t
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.told:
		return len(p), nil
	case t.frames == nil:
		return t.client.Write(p)
	}
	n := t.frames.pass(p, t.leaving)
	if _, err := t.client.Write(p[:n]); err != nil {
		return 0, err
	}
	if t.leaving && t.frames.between() {
		return len(p), t.tell()
	}
	return len(p), nil
}

func (c toClient) CloseWrite() error { return closeWrite(c.t.client) }

// tunnels are those that are open.
type tunnels struct {
	mu      sync.Mutex
	open    map[*tunnel]struct{}
	leaving bool
}

func (s *tunnels) add(t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*tunnel]struct{}{}
	}
	s.open[t] = struct{}{}
	if s.leaving {
		t.telling.Go(t.leave)
	}
}

func (s *tunnels) remove(t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, t)
}

func (s *tunnels) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
	for t := range s.open {
		t.telling.Go(t.leave) // a client that does not read must not hold up the others
	}
}

func (s *tunnels) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.open {
		t.cut()
	}
}
