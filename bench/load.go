package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// browserHeaders are about 900 bytes, as a browser sends them, with OpenReplay's.
var browserHeaders = []string{
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
	"Accept-Encoding: gzip, deflate, br, zstd",
	"Accept-Language: en-GB,en;q=0.9,de;q=0.7,fr;q=0.5",
	"Referer: https://shop.example.com/catalogue/garden/chairs?sort=price&page=3",
	"Cookie: consent=yes; theme=dark; cart=8d1f0c6a2b; JSESSIONID=5B1E9C3D7A8F4E2C9B0A6D3F1E7C5A2B; lang=en; ab=c17; last=garden%2Fchairs; region=gb-north",
	"Cache-Control: no-cache",
	"Sec-Fetch-Mode: navigate",
	"X-Requested-With: XMLHttpRequest",
	"X-OpenReplay-SessionToken: 2mPZ8xKq4TfLh3vN.1795435200123456.9bD7eXw0RkQyUc5s",
}

func requestFor(size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET /%d HTTP/1.1\r\nHost: shop.example.com\r\n", size)
	for _, h := range browserHeaders {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// A client is one connection that asks and waits, in a thread of its own: the Go scheduler would add to what is measured.
type client struct {
	file    *os.File
	fd      int
	buf     []byte
	request []byte
}

func dial(addr string, size int) (*client, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	file, err := c.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	fd := int(file.Fd()) // blocking from here on
	return &client{file, fd, make([]byte, 64<<10), requestFor(size)}, syscall.SetNonblock(fd, false)
}

func (c *client) close() { c.file.Close() }

// ask makes one request and reads its whole answer.
func (c *client) ask() error {
	if _, err := syscall.Write(c.fd, c.request); err != nil {
		return err
	}
	have := 0
	for {
		n, err := syscall.Read(c.fd, c.buf[have:])
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		have += n
		if head := bytes.Index(c.buf[:have], []byte("\r\n\r\n")); head >= 0 {
			return c.skip(head+4, have)
		}
	}
}

// skip reads the rest of the answer, of which have bytes with a head of the given length are there.
func (c *client) skip(head, have int) error {
	if !bytes.HasPrefix(c.buf, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("the answer is %q", c.buf[:min(have, 60)])
	}
	_, value, found := bytes.Cut(c.buf[:head], []byte("Content-Length: "))
	if !found {
		_, value, _ = bytes.Cut(c.buf[:head], []byte("content-length: "))
	}
	digits, _, _ := bytes.Cut(value, []byte("\r\n"))
	length, err := strconv.Atoi(string(digits))
	if err != nil {
		return errors.New("the answer has no Content-Length")
	}
	for left := head + length - have; left > 0; {
		n, err := syscall.Read(c.fd, c.buf)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		left -= n
	}
	return nil
}

// dialAll opens connections and makes one request on each.
func dialAll(addr string, n int) (all []*client, err error) {
	for range n {
		c, err := dial(addr, 1024)
		if err == nil {
			all = append(all, c)
			err = c.ask()
		}
		if err != nil {
			closeAll(all)
			return nil, err
		}
	}
	return all, nil
}

func closeAll(clients []*client) {
	for _, c := range clients {
		c.close()
	}
}

// atRate asks at a fixed rate on the given number of connections, as users do, who do not wait for each other. The durations
// count from the moment at which each request was due, so that a server that stalls is not spared.
func atRate(addr string, connections, rate int, length time.Duration) ([]time.Duration, error) {
	clients, err := dialAll(addr, connections)
	if err != nil {
		return nil, err
	}
	defer closeAll(clients)
	took := make([][]time.Duration, connections)
	problems := make([]error, connections)
	begin := time.Now().Add(10 * time.Millisecond)
	step := time.Second * time.Duration(connections) / time.Duration(rate)
	var group sync.WaitGroup
	for i, c := range clients {
		first := begin.Add(step * time.Duration(i) / time.Duration(connections))
		group.Go(func() { took[i], problems[i] = c.repeat(first, step, begin.Add(length)) })
	}
	group.Wait()
	return slices.Concat(took...), errors.Join(problems...)
}

func (c *client) repeat(due time.Time, step time.Duration, end time.Time) (took []time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	for ; due.Before(end); due = due.Add(step) {
		if wait := syscall.NsecToTimespec(int64(time.Until(due))); wait.Nano() > 0 {
			syscall.Nanosleep(&wait, nil)
		}
		if err := c.ask(); err != nil {
			return took, err
		}
		took = append(took, time.Since(due))
	}
	return took, nil
}

// quantile gives the duration that the share q did not pass.
func quantile(took []time.Duration, q float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[int(q*float64(len(sorted)-1))]
}
