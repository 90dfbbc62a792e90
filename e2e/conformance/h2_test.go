package conformance

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/openreplay/log-sidecar/proxy"
)

// h2 is a client that speaks frames.
type h2 struct {
	*http2.Framer
	conn net.Conn
	buf  bytes.Buffer
	enc  *hpack.Encoder
}

func newH2(t *testing.T, addr string) *h2 {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	c := &h2{Framer: http2.NewFramer(conn, conn), conn: conn}
	c.enc = hpack.NewEncoder(&c.buf)
	conn.Write([]byte(http2.ClientPreface))
	c.WriteSettings()
	return c
}

// get begins a request, with or without the end of its head.
func (c *h2) get(stream uint32, complete bool) error {
	c.buf.Reset()
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":path", Value: "/"}, {Name: ":authority", Value: "a"}} {
		c.enc.WriteField(f)
	}
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.buf.Bytes(), EndStream: true, EndHeaders: complete})
}

// The attacks of CVE-2023-44487 and CVE-2023-45288 harm nobody else.
func TestH2FloodsHarmNobodyElse(t *testing.T) {
	s := &stage{t: t, listener: listen(t, "tcp", "127.0.0.1:0")}
	s.serve(echo, 0)
	s.addr = startProxy(t, proxy.Config{App: "http://" + s.listener.Addr().String()})

	t.Run("rapid reset", func(t *testing.T) {
		c := newH2(t, s.addr)
		go io.Copy(io.Discard, c.conn) // what it is told does not matter to it
		for stream := uint32(1); stream < 20_000; stream += 2 {
			if c.get(stream, true) != nil || c.WriteRSTStream(stream, http2.ErrCodeCancel) != nil {
				break // the server has closed, which is right too
			}
		}
		client := s.client() // while the flood's connection is still open
		client.say("GET /alive HTTP/1.1\nHost: a\n\n")
		client.head().wantStatus(200)
		c.conn.Close()
	})
	t.Run("continuation without end", func(t *testing.T) {
		c := newH2(t, s.addr)
		written := make(chan error, 1)
		go func() {
			c.get(1, false)
			piece := bytes.Repeat([]byte{0}, 1<<14)
			for {
				if err := c.WriteContinuation(1, false, piece); err != nil {
					written <- err
					return
				}
			}
		}()
		if err := <-written; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("it was read for ever")
		}
	})
	client := s.client()
	client.say("GET /alive HTTP/1.1\nHost: a\n\n")
	client.head().wantStatus(200)
}
