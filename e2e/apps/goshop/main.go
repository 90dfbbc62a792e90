// Goshop is a small shop that fails on request, with the logging of net/http, log and log/slog as they come.
package main

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	go sync()
	http.HandleFunc("/", shop)
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}

func shop(w http.ResponseWriter, r *http.Request) {
	kind, ref := r.FormValue("kind"), r.FormValue("ref")
	time.Sleep(time.Duration(5+rand.IntN(20)) * time.Millisecond)
	if strings.HasPrefix(r.URL.Path, "/old/") {
		http.NotFound(w, r)
		return
	}
	switch kind {
	case "boom":
		panic(fmt.Sprintf("order %s is already closed", ref))
	case "nested":
		panic(fmt.Errorf("payment for basket %s was refused: %w", ref, errors.New("payment gateway closed the connection")))
	case "type":
		if _, err := strconv.Atoi(ref); err != nil {
			panic(err)
		}
	case "sql":
		panic(fmt.Errorf("bad SQL grammar [SELECT id, total\n  FROM orders\n WHERE ref = '%s'\n\n ORDER BY total]", ref))
	case "handled":
		slog.Error("invoice could not be written", "ref", ref, "err", "disk quota exceeded")
	case "brief":
		log.Printf("cart %s has no owner", ref)
	case "warn":
		slog.Warn("voucher is expired", "ref", ref)
	case "late":
		time.AfterFunc(40*time.Millisecond, func() { slog.Error("mail could not be sent", "ref", ref, "err", "timed out") })
	}
	fmt.Fprintln(w, "Thank you.")
}

func sync() {
	for range time.Tick(300 * time.Millisecond) {
		slog.Error("nightly-sync failed", "warehouse", rand.IntN(99))
	}
}
