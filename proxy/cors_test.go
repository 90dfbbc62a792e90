package proxy

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPreflight(t *testing.T) {
	const page = "https://shop.example"
	for _, c := range []struct {
		name   string
		asked  string
		heard  []string // what the app is asked
		status int
		answer http.Header
		want   []string // Access-Control-Allow-Headers
	}{
		{"allowed with the rest", "content-type,x-openreplay-sessiontoken", []string{"content-type"}, 200,
			http.Header{"Access-Control-Allow-Origin": {page}, "Access-Control-Allow-Headers": {"Content-Type"}},
			[]string{"Content-Type, x-openreplay-sessiontoken"}},
		{"asked about nothing else", "x-openreplay-sessiontoken", nil, 204,
			http.Header{"Access-Control-Allow-Origin": {"*"}}, []string{"x-openreplay-sessiontoken"}},
		{"the number's header too", "openreplaysession.id", nil, 204,
			http.Header{"Access-Control-Allow-Origin": {page}}, []string{"openreplaysession.id"}},
		{"the app allows it already", "x-openreplay-sessiontoken", nil, 200,
			http.Header{"Access-Control-Allow-Origin": {page}, "Access-Control-Allow-Headers": {"X-OpenReplay-SessionToken"}},
			[]string{"X-OpenReplay-SessionToken"}},
		{"a wildcard stays one", "x-openreplay-sessiontoken", nil, 200,
			http.Header{"Access-Control-Allow-Origin": {page}, "Access-Control-Allow-Credentials": {"true"}, "Access-Control-Allow-Headers": {"*"}},
			[]string{"*"}},
		{"the app refused", "x-openreplay-sessiontoken", nil, 403,
			http.Header{"Access-Control-Allow-Origin": {page}}, nil},
		{"the app said nothing", "x-openreplay-sessiontoken", nil, 200, http.Header{}, nil},
		{"the app allows another origin", "x-openreplay-sessiontoken", nil, 200,
			http.Header{"Access-Control-Allow-Origin": {"https://other.example"}}, nil},
		{"not asked about ours", "content-type", []string{"content-type"}, 200,
			http.Header{"Access-Control-Allow-Origin": {page}, "Access-Control-Allow-Headers": {"Content-Type"}}, []string{"Content-Type"}},
	} {
		r := &http.Request{Method: "OPTIONS", Header: http.Header{"Origin": {page}, "Access-Control-Request-Headers": {c.asked}}}
		p := newPreflight(r, newSessionHeaders([]string{"X-OpenReplay-SessionToken"}))
		if diff := cmp.Diff(c.heard, r.Header["Access-Control-Request-Headers"]); diff != "" {
			t.Errorf("%s: the app was asked: %s", c.name, diff)
		}
		p.allow(&http.Response{StatusCode: c.status, Header: c.answer})
		if diff := cmp.Diff(c.want, c.answer["Access-Control-Allow-Headers"]); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestOnlyAPreflightIsTouched(t *testing.T) {
	r := &http.Request{Method: "GET", Header: http.Header{"Origin": {"https://a"}, "Access-Control-Request-Headers": {"x-openreplay-sessiontoken"}}}
	if newPreflight(r, newSessionHeaders([]string{"X-OpenReplay-SessionToken"})) != nil || len(r.Header) != 2 {
		t.Errorf("it became %v", r.Header)
	}
}
