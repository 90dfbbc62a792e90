package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// sayChain goes along what the sidecar that runs here has seen so far, from the request to Cloud Logging: a line a link, with
// the way out where nothing has come through.
func sayChain(ctx context.Context, out io.Writer, c *config) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	seen, err := scrape(ctx, c.Health)
	if err != nil {
		say(out, "", "seen so far", "unknown: no sidecar answers at --health "+c.Health)
		return
	}
	for _, link := range links {
		note, broken := link.look(seen, c)
		status := "ok"
		if broken {
			status = "warn"
		}
		say(out, status, link.name, note)
		if broken {
			return // what comes behind can only be empty too
		}
	}
}

// A seen is what the metrics of a sidecar say.
type seen map[string]*dto.MetricFamily

// scrape reads the metrics of the sidecar that listens at an address of --health.
func scrape(ctx context.Context, addr string) (seen, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err == nil && families["sidecar_table_exchanges"] == nil {
		err = errors.New("these are not a sidecar's metrics")
	}
	return families, err
}

// by gives the values of a metric by its label, those that are not zero.
func (s seen) by(name, label string) map[string]float64 {
	values := map[string]float64{}
	for _, m := range s[name].GetMetric() {
		key := ""
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				key = l.GetValue()
			}
		}
		if v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue(); v != 0 {
			values[key] += v
		}
	}
	return values
}

func (s seen) sum(name string) (sum float64) {
	for _, v := range s.by(name, "") {
		sum += v
	}
	return sum
}

// shares says what a sum is made of, the largest first: "700 header, 203 learned".
func shares(values map[string]float64) string {
	keys := slices.SortedFunc(maps.Keys(values), func(a, b string) int {
		return cmp.Or(cmp.Compare(values[b], values[a]), strings.Compare(a, b))
	})
	for i, key := range keys {
		keys[i] = fmt.Sprintf("%.0f %s", values[key], strings.ReplaceAll(key, "_", " "))
	}
	return strings.Join(keys, ", ")
}

// The links of the chain, in the order in which an error goes along them.
var links = []struct {
	name string
	look func(s seen, c *config) (note string, broken bool)
}{
	{"requests", func(s seen, _ *config) (string, bool) {
		n := s.sum("sidecar_proxy_exchanges_total")
		if n == 0 {
			return "none has come: do clients, and the Service's targetPort, come to --listen and not to the app's own port?", true
		}
		return fmt.Sprintf("%.0f have come", n), false
	}},
	{"sessions", func(s seen, _ *config) (string, bool) {
		by := s.by("sidecar_proxy_sessions_total", "by")
		known := by["header"] + by["sessionId"] + by["cookie"] + by["learned"]
		if known == 0 {
			return fmt.Sprintf("no request names one (%s): start the tracker with network: { sessionTokenHeader: true }, and let X-OpenReplay-SessionToken through gateways; pages without calls: docs/SESSIONS.md", shares(by)), true
		}
		return fmt.Sprintf("%.0f requests are of one: %s", known, shares(by)), false
	}},
	{"log bytes", func(s seen, c *config) (string, bool) {
		n := s.sum("sidecar_tail_read_bytes_total")
		if n == 0 {
			return fmt.Sprintf("none was read: does the app write to what --logs names (%s)?", strings.Join(c.Logs, " ")), true
		}
		return fmt.Sprintf("%.0f were read, of %.0f files", n, s.sum("sidecar_tail_files")), false
	}},
	{"errors", func(s seen, _ *config) (string, bool) {
		found := s.by("sidecar_errors_found_total", "from")
		if len(found) == 0 {
			return "none was found yet; whether the log is understood: sidecar try FILE", false
		}
		return "found: " + shares(found), false
	}},
	{"matches", func(s seen, _ *config) (string, bool) {
		matched, not := s.by("sidecar_enrich_records_matched_total", "way"), s.by("sidecar_enrich_records_unmatched_total", "reason")
		silent := s.sum("sidecar_enrich_silent_failures_total")
		note := fmt.Sprintf("by way: %s; not tied to a session: %s", orNone(shares(matched)), orNone(shares(not)))
		if len(matched) == 0 && len(not) > 0 && silent == 0 {
			return note + ": no session: its request had none; else see docs/MATCHING.md", true
		}
		return note, false
	}},
	{"delivery", func(s seen, _ *config) (string, bool) {
		waiting, age := s.sum("sidecar_errors_waiting"), time.Duration(s.sum("sidecar_forwarder_oldest_unacknowledged_seconds")*float64(time.Second))
		note := fmt.Sprintf("%.0f arrived, %.0f wait", s.sum("sidecar_errors_arrived_total"), waiting)
		if tries := s.by("sidecar_forwarder_retries_total", "code"); age > time.Minute {
			return fmt.Sprintf("%s, one of them for %s (tries: %s): see Cloud Logging above", note, age.Round(time.Second), orNone(shares(tries))), true
		}
		return note + "; whether OpenReplay reads them cannot be seen from here: docs/OPENREPLAY.md", false
	}},
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
