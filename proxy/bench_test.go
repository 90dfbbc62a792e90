package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/openreplay/log-sidecar/enrich"
)

// head is what a browser sends, about 900 bytes.
const head = "GET /shop/cart?item=42 HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\nReferer: https://shop.example/shop\r\n" +
	"Cookie: theme=dark; JSESSIONID=0123456789ABCDEF0123456789ABCDEF; consent=yes\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\n" +
	"X-OpenReplay-SessionToken: " + token + "\r\n\r\n"

// BenchmarkExchange is one request after the other through real sockets: the figure holds the client, the proxy and a lean
// app, and the difference between the two is what the proxy costs.
func BenchmarkExchange(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		addr := leanApp(b, size)
		b.Run(fmt.Sprintf("direct/%dKiB", size>>10), func(b *testing.B) { exchanges(b, addr) })
		b.Run(fmt.Sprintf("proxy/%dKiB", size>>10), func(b *testing.B) {
			_, front := start(b, Config{App: "http://" + addr}, mute{})
			exchanges(b, front)
		})
	}
}

func exchanges(b *testing.B, addr string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		io.WriteString(conn, head)
		length := 0
		for line := ""; line != "\r\n"; {
			if line, err = r.ReadString('\n'); err != nil {
				b.Fatal(err)
			}
			fmt.Sscanf(line, "Content-Length: %d", &length)
		}
		if _, err := r.Discard(length); err != nil {
			b.Fatal(err)
		}
	}
}

// leanApp answers each head with a body of size.
func leanApp(b *testing.B, size int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) == 2 {
						conn.Write(answer)
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// BenchmarkHandler is the handler with everything that it does, without the client's connection.
func BenchmarkHandler(b *testing.B) {
	p, _ := start(b, Config{App: "http://" + leanApp(b, 1<<10)}, mute{})
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		b.Fatal(err)
	}
	request.RemoteAddr = "192.0.2.1:1234"
	b.ReportAllocs()
	for b.Loop() {
		r := request.Clone(b.Context())
		p.ServeHTTP(&sink{header: http.Header{}}, r)
	}
}

// sink takes an answer and forgets it.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) Flush()                      {}

// mute is an observer that does not listen.
type mute struct{}

func (mute) Begin(*enrich.Exchange)  {}
func (mute) Update(*enrich.Exchange) {}
func (mute) End(*enrich.Exchange)    {}
