package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// patience is how long a case waits for bytes that should be there at once. It passes in failing cases only.
const patience = 5 * time.Second

// failure ends a case; its text is the table's remark.
type failure string

func failf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// wire is one end of a connection.
type wire struct {
	net.Conn
	r   *bufio.Reader
	who string
}

func newWire(c net.Conn, who string) *wire {
	return &wire{Conn: c, r: bufio.NewReader(c), who: who}
}

// say sends text, with each line end as CRLF.
func (w *wire) say(text string) { w.raw(crlf(text)) }

func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

func (w *wire) raw(bytes string) {
	w.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(w, bytes); err != nil {
		failf("the %s cannot write: %v", w.who, err)
	}
}

// attempt sends what the other side may refuse to read.
func (w *wire) attempt(bytes string) {
	w.SetWriteDeadline(time.Now().Add(patience))
	io.WriteString(w, bytes)
}

func (w *wire) wait() { w.SetReadDeadline(time.Now().Add(patience)) }

func (w *wire) line() string {
	w.wait()
	line, err := w.r.ReadString('\n')
	if err != nil {
		failf("the %s waits for a line: %v", w.who, err)
	}
	return strings.TrimRight(line, "\r\n")
}

// hear reads exactly text.
func (w *wire) hear(text string) {
	w.wait()
	got := make([]byte, len(text))
	n, err := io.ReadFull(w.r, got)
	if string(got[:n]) != text {
		failf("the %s hears %q (%v), not %q", w.who, got[:n], err, text)
	}
}

// end waits until the other side has closed, however it did.
func (w *wire) end() {
	w.wait()
	n, err := io.Copy(io.Discard, w.r)
	if n > 0 {
		failf("the %s hears %d bytes instead of the end", w.who, n)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		failf("the %s is never told the end", w.who)
	}
}

// rest reads to the end, of whatever kind.
func (w *wire) rest() string {
	w.wait()
	b, err := io.ReadAll(w.r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		failf("the %s is never told the end, after %q", w.who, clip(string(b)))
	}
	return string(b)
}

func (w *wire) closeWrite() {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// field is one header line.
type field struct{ name, value string }

// head is the start line and the header of a message, as it stood on the wire.
type head struct {
	start  string
	fields []field
}

func (w *wire) head() head {
	h := head{start: w.line()}
	for {
		line := w.line()
		if line == "" {
			return h
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			name, value = "", line // no header line; cases on framing look for it
		}
		h.fields = append(h.fields, field{name, strings.TrimSpace(value)})
	}
}

func (h head) all(name string) (values []string) {
	for _, f := range h.fields {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

func (h head) get(name string) string { return strings.Join(h.all(name), "|") }
func (h head) has(name string) bool   { return len(h.all(name)) > 0 }

func (h head) status() int {
	words := strings.Fields(h.start)
	if len(words) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(words[1])
	return n
}

func (h head) target() string {
	_, rest, _ := strings.Cut(h.start, " ")
	target, _, _ := strings.Cut(rest, " HTTP/")
	return target
}

// want fails unless the header has exactly these values.
func (h head) want(name string, values ...string) {
	if got := h.all(name); strings.Join(got, "|") != strings.Join(values, "|") || len(got) != len(values) {
		failf("%s is %q, not %q", name, got, values)
	}
}

func (h head) wantStatus(codes ...int) {
	for _, code := range codes {
		if h.status() == code {
			return
		}
	}
	failf("the client got %q, not %v", h.start, codes)
}

// body reads what follows the head by the framing that it announces, and any trailers.
func (w *wire) body(h head) (body string, trailers head) {
	switch {
	case strings.EqualFold(h.get("Transfer-Encoding"), "chunked"):
		return w.chunks()
	case h.has("Content-Length"):
		n, err := strconv.Atoi(h.get("Content-Length"))
		if err != nil {
			failf("Content-Length is %q", h.get("Content-Length"))
		}
		return w.bytes(n), head{}
	case strings.HasPrefix(h.start, "HTTP/"):
		return w.rest(), head{}
	}
	return "", head{}
}

func (w *wire) bytes(n int) string {
	w.wait()
	b := make([]byte, n)
	if got, err := io.ReadFull(w.r, b); err != nil {
		failf("the %s got %d of %d bytes: %v", w.who, got, n, err)
	}
	return string(b)
}

func (w *wire) chunks() (body string, trailers head) {
	for {
		chunk := w.chunk()
		if chunk == "" {
			break
		}
		body += chunk
	}
	for {
		line := w.line()
		if line == "" {
			return body, trailers
		}
		name, value, _ := strings.Cut(line, ":")
		trailers.fields = append(trailers.fields, field{name, strings.TrimSpace(value)})
	}
}

// chunk reads one chunk, "" is the last.
func (w *wire) chunk() string {
	size, _, _ := strings.Cut(w.line(), ";")
	n, err := strconv.ParseUint(size, 16, 32)
	if err != nil {
		failf("the %s got the chunk size %q", w.who, size)
	}
	if n == 0 {
		return ""
	}
	chunk := w.bytes(int(n))
	w.hear("\r\n")
	return chunk
}

// hearChunked reads text from chunks, however it was cut.
func (w *wire) hearChunked(text string) {
	var got string
	for len(got) < len(text) {
		chunk := w.chunk()
		if chunk == "" {
			break
		}
		got += chunk
	}
	if got != text {
		failf("the %s hears %q, not %q", w.who, got, text)
	}
}

func clip(s string) string {
	if len(s) > 160 {
		return s[:160] + "..."
	}
	return s
}
