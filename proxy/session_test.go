package proxy

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	"github.com/openreplay/log-sidecar/session"
)

// token has the shape of OpenReplay's, with the session ID 2618307011354435587.
const token = "jw4wdfpgqhoj.3az.lrraavgc.notARealSignature"

func TestSession(t *testing.T) {
	const id = 2618307011354435587
	s := newSessionHeaders([]string{"X-OpenReplay-SessionToken", "x-session"})
	for _, c := range []struct {
		name   string
		header http.Header
		token  string
		id     uint64
		by     string
	}{
		{"none", http.Header{}, "", 0, byNone},
		{"a token", http.Header{"X-Openreplay-Sessiontoken": {token}}, token, id, byHeader},
		{"a token of unknown shape", http.Header{"X-Openreplay-Sessiontoken": {"Whatever=1"}}, "Whatever=1", 0, byHeader},
		{"the same in both headers", http.Header{"X-Openreplay-Sessiontoken": {token}, "X-Session": {token}}, token, id, byHeader},
		{"two lines that differ", http.Header{"X-Openreplay-Sessiontoken": {token, token + "x"}}, "", 0, byConflict},
		{"two headers that differ", http.Header{"X-Openreplay-Sessiontoken": {token}, "X-Session": {"other"}}, "", 0, byConflict},
		{"an empty one", http.Header{"X-Openreplay-Sessiontoken": {""}}, "", 0, byNone},
		{"the longest", http.Header{"X-Session": {strings.Repeat("t", session.MaxToken)}}, strings.Repeat("t", session.MaxToken), 0, byHeader},
		{"too long", http.Header{"X-Session": {strings.Repeat("t", session.MaxToken+1)}}, "", 0, byInvalid},
		{"odd bytes", http.Header{"X-Session": {"a\x00b"}}, "", 0, byInvalid},
		{"two joined into one line", http.Header{"X-Session": {token + ", " + token}}, "", 0, byInvalid},
		{"the number", http.Header{"Openreplaysession.id": {"2618307011354435587"}}, "", id, bySessionID},
		{"both, of one session", http.Header{"X-Session": {token}, "Openreplaysession.id": {"2618307011354435587"}}, token, id, byHeader},
		{"both, of two sessions", http.Header{"X-Session": {token}, "Openreplaysession.id": {"1"}}, "", 0, byConflict},
		{"two numbers", http.Header{"Openreplaysession.id": {"1", "2"}}, "", 0, byConflict},
		{"no number", http.Header{"Openreplaysession.id": {"-1"}}, "", 0, byInvalid},
		{"zero", http.Header{"Openreplaysession.id": {"0"}}, "", 0, byInvalid},
	} {
		token, id, by := s.read(c.header)
		if token != c.token || id != c.id || by != c.by {
			t.Errorf("%s: %q, %d, %s", c.name, token, id, by)
		}
	}
}

func FuzzSession(f *testing.F) {
	f.Add(token, "2618307011354435587")
	s := newSessionHeaders([]string{"T"})
	f.Fuzz(func(t *testing.T, value, number string) {
		token, id, by := s.read(http.Header{"T": {value}, sessionIDHeader: {number}})
		if token != "" && (token != value || !visible(token)) || (by == byHeader) != (token != "") || (by == bySessionID) != (token == "" && id != 0) {
			t.Errorf("%q, %q gave %q, %d, %s", value, number, token, id, by)
		}
	})
}

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
