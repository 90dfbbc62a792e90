package bridge_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"cloud.google.com/go/logging/apiv2/loggingpb"

	"github.com/openreplay/log-sidecar/bridge"
	"github.com/openreplay/log-sidecar/session"
)

// filterShape is all that may ever reach Cloud Logging.
var filterShape = regexp.MustCompile(`^logName="projects/shop/logs/openreplay-errors" AND labels\."openReplaySession\.id"="[1-9][0-9]{0,19}"` +
	` AND timestamp>="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" AND timestamp<="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"$`)

// FuzzSearch: whatever a client with a key sends, it gets JSON, and Cloud Logging gets a filter of one shape or nothing.
func FuzzSearch(f *testing.F) {
	id := session.ID(2618307011354435587)
	for _, body := range []string{
		forSession(id), `{"size": 1}`, ``, `{}`, `{"query":{"match_all":{}}}`,
		`{"query":{"match_phrase":{"message":{"query":"openReplaySession.id=1"}}}}`,
		`{"query":{"match_phrase":{"message":"openReplaySession.id=1\" OR severity>=DEFAULT OR \"1"}}}`,
		`{"query":{"match_phrase":{"message":"openReplaySession.id=18446744073709551615"}}}`,
		`{"query":{"match_phrase":{"message":"openReplaySession.id=00000000000000000000001"}}}`,
		`{"query":{"match_phrase":{"message":"openReplaySession.id=١"}}}`,
		`{"size":1e3}`, `{"size":99999999999999999999}`, strings.Repeat(`{"query":`, 2000), "\x00\xff", `null`, `[]`, `"x"`,
	} {
		f.Add(body, "track_total_hits=true")
	}
	f.Add(`{}`, "size=5&pretty")
	f.Add(`{}`, "%zz&;=")
	f.Add(``, "\xcb")
	keys := loadKeys(f, noLog)
	f.Fuzz(func(t *testing.T, body, query string) {
		var filters []string
		b := newBridge(t, bridge.Config{Keys: keys, Cloud: cloudFunc(func(_ context.Context, r *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error) {
			filters = append(filters, r.Filter)
			return &loggingpb.ListLogEntriesResponse{}, nil
		})})
		w := ask(b, "POST", "/logs/_search", body, func(r *http.Request) {
			r.URL.RawQuery = query
			r.Header.Set("Authorization", authorization(keyID, secret))
		})
		b.Close()
		got := decode(t, w.Result())
		if got.status == 200 == (got.Error.Type != "") || got.status >= 500 {
			t.Errorf("%q: %d %+v", body, got.status, got.Error)
		}
		for _, filter := range filters {
			if !filterShape.MatchString(filter) {
				t.Errorf("%q reached Cloud Logging as %s", body, filter)
			}
		}
	})
}

// FuzzKeys: no keys file makes a source that could leave its place in a filter.
func FuzzKeys(f *testing.F) {
	f.Add("id " + secret + " shop a,b/c")
	f.Add("id " + secret + ` shop a"OR"b` + "\n# x\nid2 y p-1 L")
	f.Add("\x00 \xff \u2003 ,")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := bridge.LoadKeys(keysFile(t, text), noLog)
		if err != nil {
			return
		}
		for _, source := range keys.Sources() {
			if strings.ContainsAny(fmt.Sprint(source.Project, source.Logs), "\"\\()\n ") {
				t.Errorf("%q makes %+v", text, source)
			}
		}
	})
}
