package bridge_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/openreplay/log-sidecar/bridge"
)

func TestNothingIsReadableWithoutAKey(t *testing.T) {
	b := newBridge(t, bridge.Config{Cloud: cloudFunc(nil)}) // a call would panic
	id := newSession(anHourAgo(), 1)
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	var first string
	for _, header := range []string{
		"",
		"ApiKey",
		"ApiKey ",
		"ApiKey !!!",
		"ApiKey " + encode(keyID),
		"ApiKey " + encode(keyID+":"),
		"ApiKey " + encode(":"+secret),
		"ApiKey " + encode(":"),
		"ApiKey " + encode(keyID+":"+secret+" "),
		"ApiKey " + encode(keyID+":"+secret[:len(secret)-1]),
		"ApiKey " + encode(strings.ToUpper(keyID)+":"+secret),
		"ApiKey " + encode(keyID+" "+secret),
		"ApiKey " + encode(keyID+":"+secret) + ", ApiKey " + encode("x:y"),
		"Basic " + encode(keyID+":"+secret),
		"Bearer " + secret,
		secret,
	} {
		for _, path := range []string{"/", searchPath, "/logs", "/_cluster/health", "/anything", "/logs/_search/../_search"} {
			for _, method := range []string{"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"} {
				w := ask(b, method, path, forSession(id), func(r *http.Request) {
					r.Header.Del("Authorization")
					if header != "" {
						r.Header.Set("Authorization", header)
					}
				})
				if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != "ApiKey" {
					t.Fatalf("%s %s with %q: %d %s", method, path, header, w.Code, w.Body)
				}
				if first == "" {
					first = w.Body.String()
				}
				if method != "HEAD" && w.Body.String() != first {
					t.Fatalf("%q is answered in other words than no key: %s", header, w.Body)
				}
			}
		}
	}
}

func TestAKeyReadsItsOwnLogsAlone(t *testing.T) {
	cloud := startStandIn(t)
	id := newSession(anHourAgo(), 1)
	for _, log := range []string{"projects/shop/logs/a", "projects/shop/logs/b%2Fc", "projects/shop/logs/secret", "projects/bank/logs/a"} {
		e := entry(id, strings.NewReplacer("/", "-", "%", "-").Replace(log), id.Start())
		e.LogName = log
		cloud.write(t, log, e)
	}
	keys := loadKeys(t, zap.NewNop(), "two "+secret+"2 shop b/c,a,a", "one "+secret+"1 shop a", "bank "+secret+"3 bank a")
	b := newBridge(t, bridge.Config{Cloud: cloud.cloud, Keys: keys})
	for _, test := range []struct {
		id, secret string
		want       []string
	}{
		{"two", secret + "2", []string{"projects-shop-logs-a", "projects-shop-logs-b-2Fc"}},
		{"one", secret + "1", []string{"projects-shop-logs-a"}},
		{"bank", secret + "3", []string{"projects-bank-logs-a"}},
	} {
		got := searchFor(t, b, id, func(r *http.Request) { r.Header.Set("Authorization", authorization(test.id, test.secret)) })
		if diff := cmp.Diff(test.want, got.ids()); diff != "" {
			t.Errorf("key %s: %s", test.id, diff)
		}
	}
	if diff := cmp.Diff([]bridge.Source{{Project: "bank", Logs: "a"}, {Project: "shop", Logs: "a"}, {Project: "shop", Logs: "a,b/c"}}, keys.Sources()); diff != "" {
		t.Error(diff)
	}
}

// A filter is asked of Cloud Logging and believed by nobody: an entry of another session is never shown, whatever comes.
func TestEntriesOfAnotherSessionAreDropped(t *testing.T) {
	mine, other := newSession(anHourAgo(), 1), newSession(anHourAgo(), 2)
	b := newBridge(t, bridge.Config{Cloud: cloudFunc(func(context.Context, *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error) {
		unmarked := entry(mine, "unmarked", mine.Start(), func(e *loggingpb.LogEntry) { e.Labels = nil })
		return &loggingpb.ListLogEntriesResponse{Entries: []*loggingpb.LogEntry{
			entry(other, "other", other.Start()), unmarked, entry(mine, "mine", mine.Start()),
		}}, nil
	})})
	if diff := cmp.Diff([]string{"mine"}, searchFor(t, b, mine).ids()); diff != "" {
		t.Error(diff)
	}
}

func TestAKeyThatAsksTooOftenIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBridge(t, bridge.Config{Cloud: cloudFunc(nil)})
		refused := 0
		for range 10_100 {
			if ask(b, "GET", "/", "").Code == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused != 100 {
			t.Errorf("%d of 10,100 at once were refused, want 100", refused)
		}
		time.Sleep(time.Second)
		if w := ask(b, "GET", "/", ""); w.Code != 200 {
			t.Errorf("a second later: %d", w.Code)
		}
	})
}

func TestKeysAreReadAgainWhenTheyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.WarnLevel)
		path := keysFile(t, "old "+secret+"1 shop a", "stays "+secret+"2 shop a")
		keys, err := bridge.LoadKeys(path, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		b := newBridge(t, bridge.Config{Cloud: cloudFunc(nil), Keys: keys})
		let := func() (in []string) {
			time.Sleep(time.Second)
			for i, id := range []string{"", "old", "stays", "new"} {
				if i > 0 && ask(b, "GET", "/", "", func(r *http.Request) {
					r.Header.Set("Authorization", authorization(id, fmt.Sprint(secret, i)))
				}).Code == 200 {
					in = append(in, id)
				}
			}
			return in
		}
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range []struct {
			name string
			do   func()
			want []string
		}{
			{"as it was", func() {}, []string{"old", "stays"}},
			{"one revoked, one made", func() { write("stays " + secret + "2 shop a\nnew " + secret + "3 shop a\n") }, []string{"stays", "new"}},
			{"a wrong line beside a good one", func() { write("# rotated\n\nstays " + secret + "2 shop a\nnew " + secret + "3 SHOP a\n") }, []string{"stays"}},
			{"the Secret is gone", func() { os.Remove(path) }, nil},
			{"and comes back", func() { write("new " + secret + "3 shop a\n") }, []string{"new"}},
		} {
			step.do()
			if diff := cmp.Diff(step.want, let()); diff != "" {
				t.Errorf("%s: %s", step.name, diff)
			}
		}
		for _, line := range logged.All() {
			if strings.Contains(fmt.Sprint(line.Message, line.ContextMap()), secret) {
				t.Errorf("a secret stands in the log: %v", line)
			}
		}
		if logged.FilterMessageSnippet("wrong").Len() != 1 || logged.FilterMessageSnippet("no key holds").Len() != 1 {
			t.Errorf("logged: %v", logged.All())
		}
	})
}

func TestAKeysFileThatIsWrongIsSaidAtTheStart(t *testing.T) {
	for _, test := range []struct{ text, says string }{
		{"", "has no key; make one with: bridge key ID PROJECT LOG"},
		{"id " + secret + " shop", "line 1: has 3 words, not the four ID SECRET PROJECT LOG[,LOG...]"},
		{"# fine\nid " + secret + ` shop" a`, "line 2: the third word is not the ID of a Google Cloud project"},
		{"id " + secret + ` shop a"OR"b`, "line 1: the fourth word is not a list of log IDs"},
		{"id " + secret + " shop a,", "line 1: the fourth word is not a list of log IDs"},
		{"i:d " + secret + " shop a", "line 1: the ID has other characters"},
		{"id " + secret + " shop a\nid " + secret + " bank a", "line 2: the ID stands in an earlier line too"},
	} {
		_, err := bridge.LoadKeys(keysFile(t, test.text), zap.NewNop())
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: %v, want %q", test.text, err, test.says)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the secret stands in %v", err)
		}
	}
	if _, err := bridge.LoadKeys(filepath.Join(t.TempDir(), "none"), zap.NewNop()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: %v", err)
	}
}

func TestANewKeyOpens(t *testing.T) {
	line, err := bridge.NewKey("dashboard", "shop", "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(line)
	if !slices.Equal([]string{words[0], words[2], words[3]}, []string{"dashboard", "shop", "a,b"}) || len(words[1]) < 50 {
		t.Errorf("the line is %q", line)
	}
	b := newBridge(t, bridge.Config{Cloud: cloudFunc(nil), Keys: loadKeys(t, zap.NewNop(), line)})
	if w := ask(b, "GET", "/", "", func(r *http.Request) { r.Header.Set("Authorization", authorization(words[0], words[1])) }); w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
	if _, err := bridge.NewKey("two words", "shop", "a"); err == nil {
		t.Error("an ID of two words was taken")
	}
}

func TestAShortSecretIsWarnedOf(t *testing.T) {
	core, logged := observer.New(zap.WarnLevel)
	loadKeys(t, zap.New(core), "weak 1234 shop a", "good "+secret+" shop a")
	if got := logged.All(); len(got) != 1 || got[0].ContextMap()["key"] != "weak" {
		t.Errorf("logged: %v", got)
	}
}
