// Package tracker puts OpenReplay's tracker into pages that cannot be changed.
//
// The script stands in a navigation's HTML, right behind <head>, as the page streams through; it is served by the sidecar from
// the build of the npm package that is embedded here. Its calls to OpenReplay can go the same way, under the page's own
// origin. What is not surely such a page passes as it is.
package tracker

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Prefix is what the paths begin with that are the sidecar's own while the tracker or the relay is on.
const Prefix = "/-openreplay-log-sidecar/"

// IngestPath is where OpenReplay's calls come in that are relayed.
const IngestPath = Prefix + "ingest"

// Version is that of the npm package @openreplay/tracker which is embedded.
const Version = "19.0.1"

// The package's own build for CommonJS, dist/cjs/entry.js without the line that names its source map, and its licence.
var (
	//go:embed openreplay-tracker-19.0.1.js.gz
	build []byte
	//go:embed openreplay-tracker-19.0.1.LICENSE
	license string
)

// Config says how the tracker is started in pages.
type Config struct {
	ProjectKey string
	// Ingest is OpenReplay's ingest point as the browser reaches it; IngestPath where it is relayed.
	Ingest string
	// Header is the name of the header that carries the session's token; "" for the tracker's own.
	Header string
	// Consent is a cookie that must be there before the tracker starts, NAME or NAME=VALUE; "" for none.
	Consent string
}

// A Tracker puts the script into pages, and serves it.
type Tracker struct {
	ingest  string // its origin, "" where that is the page's own
	path    string // of the script, with a hash of what it is
	script  []byte // gzipped
	snippet []byte
	tag     string // what tells a page's ETag with the script from one without
	weight  budget
}

// settings is what the script reads.
type settings struct {
	ProjectKey string `json:"projectKey"`
	Ingest     string `json:"ingest"`
	Header     any    `json:"header"`
	Consent    string `json:"consent,omitempty"`
}

//go:embed start.js
var start string

// New prepares the script.
func New(c Config) (*Tracker, error) {
	t := &Tracker{}
	if c.Ingest != IngestPath {
		u, err := url.Parse(c.Ingest)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return nil, fmt.Errorf("tracker.ingest: %q must be like https://openreplay.example.com/ingest", c.Ingest)
		}
		t.ingest = u.Scheme + "://" + u.Host
	}
	s := settings{c.ProjectKey, c.Ingest, true, c.Consent}
	if c.Header != "" {
		s.Header = c.Header
	}
	if err := t.pack(s); err != nil {
		return nil, fmt.Errorf("prepare the tracker's script: %w", err)
	}
	sum := sha256.Sum256(t.script)
	t.tag = "-or" + hex.EncodeToString(sum[:4])
	t.path = Prefix + "tracker" + t.tag + ".js"
	t.snippet = []byte(`<script src="` + t.path + `"></script>`)
	return t, nil
}

// pack puts the build between what it needs to run as a plain script.
func (t *Tracker) pack(s settings) error {
	config, err := json.Marshal(s) // with <, > and & escaped
	if err != nil {
		return err
	}
	lib, err := gzip.NewReader(bytes.NewReader(build))
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	before, after, _ := strings.Cut(start, "/* the build */")
	fmt.Fprintf(w, "/* @openreplay/tracker %s\n%s*/\n%s", Version, license, strings.Replace(before, "{/* settings */}", string(config), 1))
	if _, err := io.Copy(w, lib); err != nil {
		return err
	}
	io.WriteString(w, after)
	if err := w.Close(); err != nil {
		return err
	}
	t.script = packed.Bytes()
	return nil
}

// ServeScript answers a request for the script. Its address changes with its content, so it may be kept for ever.
func (t *Tracker) ServeScript(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != t.path || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.NotFound(w, r) // a page of before an update asks for what is not there any more
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	h.Set("X-Content-Type-Options", "nosniff")
	if accepts(r.Header, "gzip") {
		h.Set("Content-Encoding", "gzip")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(t.script))
		return
	}
	plain, err := gzip.NewReader(bytes.NewReader(t.script))
	if err != nil {
		panic(err) // it was written here
	}
	if r.Method == http.MethodGet {
		io.Copy(w, plain)
	}
}

// accepts says whether the client takes a coding: RFC 9110, 12.5.3.
func accepts(h http.Header, coding string) bool {
	for _, line := range h["Accept-Encoding"] {
		for item := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(name), coding) {
				q := strings.ReplaceAll(strings.TrimSpace(params), " ", "")
				return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
			}
		}
	}
	return false
}
