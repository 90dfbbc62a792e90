package tracker

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestTheRelayTakesNothingOfTheAppAlong(t *testing.T) {
	var got *http.Request
	var body string
	openreplay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		b, _ := io.ReadAll(r.Body)
		body = string(b)
		w.Header().Set("Set-Cookie", "theirs=1")
		switch {
		case strings.HasSuffix(r.URL.Path, "/start"):
			w.Header().Set("Content-Type", "application/json")
			if r.Header.Get("Accept-Encoding") == "gzip" {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				io.WriteString(z, `{"token":"made.by.start.x","sessionID":"1"}`)
				z.Close()
				return
			}
			io.WriteString(w, `{"token":"made.by.start.x","sessionID":"1"}`)
		case r.Header.Get("Authorization") == "Bearer old":
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer openreplay.Close()
	var told []string
	ingest, err := NewIngest(openreplay.URL+"/ingest/", []string{"X-OpenReplay-SessionToken"}, func(r *http.Request, token string, answer http.Header) {
		told = append(told, token+" "+r.Header.Get("Cookie"))
		answer.Add("Set-Cookie", "ours=1")
	})
	if err != nil {
		t.Fatal(err)
	}
	call := func(path, text string, headers ...string) *httptest.ResponseRecorder {
		got, told = nil, nil
		r := httptest.NewRequest("POST", "https://shop.example"+path, strings.NewReader(text))
		r.Header.Set("Cookie", "JSESSIONID=secret")
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		ingest.ServeHTTP(w, r)
		return w
	}

	w := call(IngestPath+"/v1/web/i?batch=1_2", "\x00\x01binary", "Authorization: Bearer tok", "DataType: visual", "X-OpenReplay-SessionToken: tok")
	if got == nil || got.URL.String() != "/ingest/v1/web/i?batch=1_2" || body != "\x00\x01binary" || got.Header.Get("Authorization") != "Bearer tok" ||
		got.Header.Get("Datatype") != "visual" || got.Header.Get("Cookie") != "" || got.Header.Get("X-Openreplay-Sessiontoken") != "" ||
		got.Header.Get("X-Forwarded-For") != "192.0.2.7, 192.0.2.1" || got.Host != strings.TrimPrefix(openreplay.URL, "http://") {
		t.Errorf("OpenReplay got %+v, %q", got, body)
	}
	if !slices.Equal(told, []string{"tok JSESSIONID=secret"}) || !slices.Equal(w.Header()["Set-Cookie"], []string{"ours=1"}) {
		t.Errorf("told %q, cookies %q", told, w.Header()["Set-Cookie"])
	}
	for _, coding := range []string{"gzip, br", "br"} {
		w = call(IngestPath+"/v1/web/start", "{}", "Accept-Encoding: "+coding)
		if !slices.Equal(told, []string{"made.by.start.x JSESSIONID=secret"}) || w.Code != 200 || w.Body.Len() == 0 {
			t.Errorf("%s: start told %q, and answered %d %q", coding, told, w.Code, w.Body)
		}
	}
	if call(IngestPath+"/v1/web/i", "", "Authorization: Bearer old"); len(told) != 0 {
		t.Errorf("a session that is over was told: %q", told)
	}
	for _, path := range []string{"/", "/v1/admin", "/v1/web/../../secret", "x"} {
		if w := call(IngestPath+path, ""); w.Code != 404 || got != nil {
			t.Errorf("%s was relayed", path)
		}
	}
	openreplay.Close()
	if w := call(IngestPath+"/v1/web/start", "{}"); w.Code != http.StatusBadGateway || strings.Contains(w.Body.String(), "127.0.0.1") {
		t.Errorf("OpenReplay is away: %d %q", w.Code, w.Body)
	}
}
