package main

import (
	"net"
	"testing"
)

func TestSkipReadsTheWholeAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serveUpstream(l) }()
	defer func() { l.Close(); <-served }()
	for _, size := range []int{0, 1, 1024, 200_000} {
		c, err := dial(l.Addr().String(), size)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // what is left unread of one answer would be in the way of the next
			if err := c.ask(); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
		c.close()
	}
}
