package tracker

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// An Ingest relays the tracker's calls to OpenReplay, untouched but for what is the app's: cookies, and headers of ours. Under
// the app's own origin they bring the app's cookies and the session's token together.
type Ingest struct {
	base  *url.URL
	proxy *httputil.ReverseProxy
	taken chan struct{}
}

// maxRelayed is how many calls are under way at once. The tracker tries again.
const maxRelayed = 256

// maxStart is the longest answer to a start that is looked into. Real ones have some 500 bytes.
const maxStart = 64 << 10

// NewIngest relays to OpenReplay's ingest point. drop are headers that it must not get. tell hears of each token that a call
// brings or gets, before the answer's head goes out, and may add to that.
func NewIngest(ingest string, drop []string, tell func(r *http.Request, token string, answer http.Header)) (*Ingest, error) {
	base, err := url.Parse(strings.TrimRight(ingest, "/"))
	if err != nil || base.Scheme != "https" && base.Scheme != "http" || base.Host == "" || base.User != nil || base.RawQuery != "" {
		return nil, fmt.Errorf("tracker.ingest: %q must be like https://openreplay.example.com/ingest", ingest)
	}
	i := &Ingest{base: base, taken: make(chan struct{}, maxRelayed)}
	i.proxy = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { i.rewrite(r, drop) },
		FlushInterval: -1,
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			IdleConnTimeout:       30 * time.Second,
			MaxIdleConnsPerHost:   16,
			DisableCompression:    true,
			ForceAttemptHTTP2:     true,
		},
		ModifyResponse: func(resp *http.Response) error { return i.answered(resp, tell) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, http.StatusText(http.StatusBadGateway), http.StatusBadGateway)
		},
		ErrorLog: log.New(io.Discard, "", 0), // that OpenReplay is away is counted, and is not this pod's to say for each call
	}
	return i, nil
}

// ServeHTTP relays one call. Only what the tracker calls is relayed.
func (i *Ingest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, IngestPath)
	if !strings.HasPrefix(path, "/v1/web/") && !strings.HasPrefix(path, "/v1/sdk/") || strings.Contains(path, "..") {
		http.NotFound(w, r)
		return
	}
	select {
	case i.taken <- struct{}{}:
		defer func() { <-i.taken }()
		i.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), cameKey{}, r)))
	default:
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
	}
}

// cameKey leads from what goes to OpenReplay to the request as it came.
type cameKey struct{}

func (i *Ingest) rewrite(r *httputil.ProxyRequest, drop []string) {
	out := r.Out
	out.URL.Scheme, out.URL.Host = i.base.Scheme, i.base.Host
	out.URL.Path = i.base.Path + strings.TrimPrefix(r.In.URL.Path, IngestPath)
	out.URL.RawPath = ""
	out.URL.RawQuery = r.In.URL.RawQuery
	out.Host = i.base.Host
	out.Header.Del("Cookie")
	for _, name := range drop {
		out.Header.Del(name)
	}
	if strings.HasSuffix(out.URL.Path, "/start") && accepts(out.Header, "gzip") {
		out.Header.Set("Accept-Encoding", "gzip") // its answer is read here
	}
	// Where the user is stands in the recording.
	out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
	r.SetXForwarded()
	out.Header.Set("X-Forwarded-Host", r.In.Host)
	if proto := r.In.Header.Get("X-Forwarded-Proto"); proto != "" {
		out.Header.Set("X-Forwarded-Proto", proto)
	}
}

// answered learns from the call. A session that ingest has not said yes to is none.
func (i *Ingest) answered(resp *http.Response, tell func(*http.Request, string, http.Header)) error {
	resp.Header.Del("Set-Cookie") // it would be the app's
	r, _ := resp.Request.Context().Value(cameKey{}).(*http.Request)
	if resp.StatusCode != http.StatusOK || tell == nil {
		return nil
	}
	if !strings.HasSuffix(r.URL.Path, "/start") {
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			tell(r, token, resp.Header)
		}
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStart))
	if err != nil {
		return err
	}
	if token := tokenOf(body, resp.Header.Get("Content-Encoding")); token != "" {
		tell(r, token, resp.Header)
	}
	resp.Body = peeked{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
	return nil
}

// tokenOf reads the token out of the answer to a start; "" where there is none.
func tokenOf(body []byte, coding string) string {
	if coding == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return ""
		}
		if body, err = io.ReadAll(io.LimitReader(z, maxStart)); err != nil {
			return ""
		}
	}
	var answer struct{ Token string }
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	return answer.Token
}
