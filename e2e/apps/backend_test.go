//go:build e2e

package apps

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// The kinds of records that FastCGI knows, as its specification numbers them.
const (
	fcgiEnd    = 3
	fcgiStdin  = 5
	fcgiStdout = 6
	fcgiStderr = 7
)

// listen serves connections until the test ends.
func (s *site) listen(serve func(net.Conn)) (address string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	s.Cleanup(func() {
		listener.Close()
		served.Wait()
	})
	return listener.Addr().String()
}

// serveFastCGI is a FastCGI program that complains on its standard error, which nginx logs.
func serveFastCGI(s *site) (address string) {
	return s.listen(func(conn net.Conn) {
		body, ok := fastCGIBody(conn)
		if !ok {
			return
		}
		complaint, status := complain(body)
		if complaint != "" {
			writeFastCGI(conn, fcgiStderr, complaint)
		}
		writeFastCGI(conn, fcgiStdout, fmt.Sprintf("Status: %d\r\nContent-Type: text/plain\r\n\r\nThank you.\n", status))
		writeFastCGI(conn, fcgiEnd, "\x00\x00\x00\x00\x00\x00\x00\x00")
	})
}

func complain(body string) (complaint string, status int) {
	form, _ := url.ParseQuery(body)
	ref := form.Get("ref")
	time.Sleep(time.Duration(5+rand.IntN(20)) * time.Millisecond)
	switch form.Get("kind") {
	case "boom":
		return "Order " + ref + " is already closed at Shop.pm line 9.", 500
	case "nested":
		return "Payment for basket " + ref + " was refused: payment gateway closed the connection", 500
	case "sql":
		return "bad SQL grammar [SELECT id, total\n  FROM orders\n WHERE ref = '" + ref + "'\n\n ORDER BY total]", 500
	case "handled":
		return "Invoice " + ref + " could not be written: disk quota exceeded", 200
	case "brief":
		return "Cart " + ref + " has no owner", 200
	}
	return "", 200
}

// fastCGIBody reads one request up to the end of its standard input, which is its body.
func fastCGIBody(conn net.Conn) (body string, ok bool) {
	var all bytes.Buffer
	for {
		var head struct {
			Version, Kind   uint8
			Request, Length uint16
			Padding, _      uint8
		}
		if binary.Read(conn, binary.BigEndian, &head) != nil {
			return "", false
		}
		content := make([]byte, int(head.Length)+int(head.Padding))
		if _, err := io.ReadFull(conn, content); err != nil {
			return "", false
		}
		if head.Kind != fcgiStdin {
			continue
		}
		if head.Length == 0 {
			return all.String(), true
		}
		all.Write(content[:head.Length])
	}
}

func writeFastCGI(conn net.Conn, kind byte, content string) {
	head := []byte{1, kind, 0, 1, byte(len(content) >> 8), byte(len(content)), 0, 0}
	conn.Write(append(head, content...))
}

// serveBroken is an HTTP backend that answers some requests with a header line that is none, which nginx logs.
func serveBroken(s *site) (address string) {
	backend := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, ref := r.PostFormValue("kind"), r.PostFormValue("ref")
		time.Sleep(time.Duration(5+rand.IntN(20)) * time.Millisecond)
		if kind != "type" {
			fmt.Fprintln(w, "Thank you.")
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s is not a number\r\n\r\n", ref)
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { backend.Serve(listener) })
	s.Cleanup(func() {
		backend.Close()
		served.Wait()
	})
	return listener.Addr().String()
}
