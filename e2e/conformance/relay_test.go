package conformance

import (
	"io"
	"net"
	"sync"
	"testing"
)

// relay hands on bytes as they come. It is what an app that must defend itself would stand behind, and the proof that the
// cases on smuggling can tell.
var relay = subject{"relay", nil, func(t testing.TB, app string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(open.Wait)
	t.Cleanup(func() { l.Close() })
	open.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { join(client, app) })
		}
	})
	return l.Addr().String()
}}

func join(client net.Conn, app string) {
	defer client.Close()
	server, err := net.Dial("tcp", app)
	if err != nil {
		return
	}
	defer server.Close()
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(server, client)
		server.(*net.TCPConn).CloseWrite()
	})
	io.Copy(client, server)
	client.Close()
	up.Wait()
}

func TestCasesSeeThroughARelay(t *testing.T) {
	for _, name := range []string{"Content-Length and chunked", "a space before the colon", "chunked twice", "two lengths that differ",
		"chunked with a NUL", "two Hosts", "a NUL in a value", "a space in a name", "chunked in a folded line"} {
		for _, b := range smugglingCases() {
			if b.name == "smuggling: "+name && b.try(t, relay) == "" {
				t.Errorf("%s: nothing was noticed", b.name)
			}
		}
	}
}
