// Package admin serves health, metrics, profiles and the status page, on listeners of their own.
package admin

import (
	_ "embed"
	"fmt"
	"html"
	"net/http"
	"net/http/pprof"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health answers the kubelet and Prometheus. It shows no secrets, so it may listen on the pod's address. ready says
// why requests cannot be accepted and forwarded; logs, disks and Google never change it.
func Health(ready func() error, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// Admin is for whoever may enter the pod: the status page, profiles, and an orderly end. It belongs on loopback.
func Admin(version string, metrics prometheus.Gatherer, quit func()) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", status(version, metrics))
	mux.HandleFunc("POST /quitquitquit", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ending")
		quit()
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return onlyLocal(mux)
}

// onlyLocal refuses what a page in somebody's browser could be made to send here: it names another host.
func onlyLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if i := strings.LastIndexByte(host, ':'); i >= 0 {
			host = host[:i]
		}
		switch host {
		case "127.0.0.1", "localhost", "[::1]":
			next.ServeHTTP(w, r)
		default:
			http.Error(w, "ask for 127.0.0.1 or localhost", http.StatusForbidden)
		}
	})
}

//go:embed status.html
var statusPage string

type row struct {
	Name, Help string
	Value      float64
}

// status fills in the page by hand: the template packages look up methods by name, so that the linker has to keep every
// method of the whole program, which is megabytes in every pod.
func status(version string, metrics prometheus.Gatherer) http.Handler {
	start := time.Now()
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		rows, err := rows(metrics)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		var table strings.Builder
		for _, r := range rows {
			fmt.Fprintf(&table, "<tr><td><code>%s</code></td><td>%v</td><td>%s</td></tr>\n",
				html.EscapeString(r.Name), r.Value, html.EscapeString(r.Help))
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		strings.NewReplacer("{version}", html.EscapeString(version), "{up}", time.Since(start).Round(time.Second).String(),
			"{rows}", table.String()).WriteString(w, statusPage)
	})
}

// rows gives the sidecar's own counters and gauges that are not zero.
func rows(metrics prometheus.Gatherer) ([]row, error) {
	families, err := metrics.Gather()
	if err != nil {
		return nil, err
	}
	var out []row
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "sidecar_") {
			continue
		}
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += fmt.Sprintf(" %s=%s", label.GetName(), label.GetValue())
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			if value != 0 {
				out = append(out, row{name, family.GetHelp(), value})
			}
		}
	}
	sort.Slice(out, func(i, k int) bool { return out[i].Name < out[k].Name })
	return out, nil
}
