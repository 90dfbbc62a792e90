package tracker

import (
	"bufio"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is the largest window that a decoder may have: what RFC 9659 and RFC 7932 let servers send browsers.
const maxWindow = 16 << 20

var (
	packers = sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, 5) // as servers do
		return w
	}}
	pieces = sync.Pool{New: func() any { return new([32 << 10]byte) }}
)

// recode prepares the body to be read in plain. What was coded goes out in gzip, which whoever takes another coding takes as
// well, or plain. Where it gives nil the answer is as it was.
func (t *Tracker) recode(resp *http.Response, zip bool) (*rewriting, string) {
	h := resp.Header
	coding := strings.ToLower(strings.Join(h["Content-Encoding"], ","))
	w := &rewriting{body: resp.Body, source: resp.Body}
	cost := int64(plainCost)
	var decode func(io.Reader) (io.Reader, func(), error)
	switch coding {
	case "", "identity":
	case "gzip", "x-gzip":
		cost, decode = encoding, unzip
	case "br", "zstd":
		// The window stands in the first bytes. Whoever compresses has them at hand when he sends the head.
		ahead := bufio.NewReaderSize(resp.Body, 4<<10)
		size := window(coding, ahead)
		resp.Body = peeked{ahead, resp.Body}
		w.source, cost = ahead, encoding+size
		if decode = unbrotli; coding == "zstd" {
			decode = unzstd
		}
		if size == 0 || size > maxWindow {
			return nil, Coding
		}
	default:
		return nil, Coding
	}
	if !t.weight.take(cost) {
		return nil, Busy
	}
	done := func() {}
	if decode != nil {
		// Decoders read their heads when they are made; a page that has none yet must not be waited for here.
		lazy := &lazily{from: w.source, decode: decode}
		w.source, done = lazy, lazy.close
		delete(h, "Content-Encoding")
		if zip {
			h["Content-Encoding"] = []string{"gzip"}
			w.coded = packers.Get().(*gzip.Writer)
			w.coded.Reset(&w.out)
		}
	}
	piece := pieces.Get().(*[32 << 10]byte)
	w.piece = piece[:]
	w.free = func() {
		done()
		if w.coded != nil {
			w.coded.Reset(io.Discard)
			packers.Put(w.coded)
		}
		pieces.Put(piece)
		t.weight.used.Add(-cost)
	}
	return w, ""
}

// peeked is a body of which some bytes wait in a buffer.
type peeked struct {
	io.Reader
	io.Closer
}

// lazily makes the decoder with the first read.
type lazily struct {
	from   io.Reader
	decode func(io.Reader) (io.Reader, func(), error)
	to     io.Reader
	done   func()
}

func (l *lazily) Read(p []byte) (n int, err error) {
	if l.to == nil {
		if l.to, l.done, err = l.decode(l.from); err != nil {
			l.to = nil
			return 0, err
		}
	}
	return l.to.Read(p)
}

func (l *lazily) close() {
	if l.done != nil {
		l.done()
	}
}

func unzip(r io.Reader) (io.Reader, func(), error) {
	z, err := gzip.NewReader(r)
	return z, func() {}, err
}

func unbrotli(r io.Reader) (io.Reader, func(), error) { return brotli.NewReader(r), func() {}, nil }

func unzstd(r io.Reader) (io.Reader, func(), error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, nil, err
	}
	return z, z.Close, nil
}

// window is how large a window the coded page asks for; 0 where that cannot be read.
func window(coding string, r *bufio.Reader) int64 {
	if coding == "br" {
		b, err := r.Peek(1)
		if err != nil {
			return 0
		}
		return brotliWindow(b[0])
	}
	b, _ := r.Peek(zstd.HeaderMaxSize) // a small page may be shorter
	var h zstd.Header
	if h.Decode(b) != nil || h.Skippable {
		return 0
	}
	return max(int64(h.WindowSize), 1)
}

// brotliWindow reads WBITS: RFC 7932, 9.1.
func brotliWindow(b byte) int64 {
	bits := 0
	switch n := b >> 1 & 7; {
	case b&1 == 0:
		bits = 16
	case n != 0:
		bits = 17 + int(n)
	default:
		switch n := b >> 4 & 7; n {
		case 0:
			bits = 17
		case 1:
			return 0 // a large window, which is not for browsers
		default:
			bits = 8 + int(n)
		}
	}
	return 1 << bits
}
