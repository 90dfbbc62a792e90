// Command legacy is an app that logs to a file or to its output, and once more when it is told to end.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	var out io.Writer = os.Stdout
	if len(os.Args) > 1 {
		file, err := os.OpenFile(os.Args[1], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		out = file
	}
	var last atomic.Value
	last.Store("")
	failed := func(id, what string) {
		fmt.Fprintf(out, "%s ERROR request %s: %s\n", time.Now().UTC().Format(time.RFC3339Nano), id, what)
	}
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		last.Store(r.Header.Get("X-Request-ID"))
		if r.URL.Path == "/fail" {
			failed(r.Header.Get("X-Request-ID"), r.URL.Query().Get("ref")+" could not be served")
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	go http.ListenAndServe(":8080", nil)
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	time.Sleep(300 * time.Millisecond) // what was under way goes on for a while
	failed(last.Load().(string), "cut off by the end")
}
