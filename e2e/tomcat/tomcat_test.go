//go:build e2e

package tomcat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/openreplay/log-sidecar/e2e/stage"
)

// A visit is one request of a browser. Its word goes into the form that it posts and comes back in the app's error.
type visit struct {
	word, id, session string
	path, kind        string
}

// The kinds of visit, most of which fail. Only the named ones have the request ID in what Tomcat logs.
var kinds = []struct{ kind, path string }{
	{"", "/orders/7"}, {"boom", "/orders/7"}, {"named boom", "/orders/7"}, {"nested", "/checkout"}, {"named", "/cart/3"},
	{"handled", "/invoices/4"}, {"warn", "/cart/3"}, {"named boom", "/checkout"}, {"sql", "/search"}, {"late", "/mail"},
}

func (v *visit) named() bool { return strings.HasPrefix(v.kind, "named") }
func (v *visit) fails() bool { return v.kind != "" && v.kind != "warn" }

// visits gives n of them; every fourth has no session.
func visits(n int) []visit {
	all := make([]visit, n)
	for i := range all {
		k := kinds[i%len(kinds)]
		all[i] = visit{word: word(i), id: uuid.NewString(), path: k.path, kind: k.kind}
		if i%4 != 3 {
			all[i].session = fmt.Sprintf("jw4wdfpgq%03d.3az.lrraavgc.ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4sndRrpZev%03d", i%30, i%30)
		}
	}
	return all
}

// word gives a word without digits, which nothing takes for an ID.
func word(i int) string {
	w := []byte("KQWXZJVbcd")
	for at := len(w) - 1; at > 6; at-- {
		w[at] = byte('A' + i%26)
		i /= 26
	}
	return string(w)
}

func (v *visit) pay(front string) error {
	form := url.Values{"kind": {v.kind}, "ref": {v.word}}
	request, err := http.NewRequest("POST", "http://"+front+v.path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header = http.Header{
		"Accept":          {"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"},
		"Accept-Language": {"en-GB,en;q=0.7"},
		"Content-Type":    {"application/x-www-form-urlencoded"},
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		"X-Request-ID":    {v.id},
	}
	if v.session != "" {
		request.Header.Set("X-OpenReplay-SessionToken", v.session)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// Tomcat logs as Debian ships it. What names its request arrives once, with its own session; what does not is counted or
// arrives with its own session, and is under no circumstances somebody else's.
func TestTomcat(t *testing.T) {
	gcloud := stage.Need(t, "gcloud", "install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install")
	app := stage.Address(t)
	s := stage.New(t, "http://"+app)
	Start(t, s.Dir, app)
	sidecar := s.Run("--from", "beginning")

	all := visits(80)
	next := make(chan visit)
	var browsers sync.WaitGroup
	for range 4 {
		browsers.Go(func() {
			for v := range next {
				if err := v.pay(s.Front); err != nil {
					t.Errorf("%s %s: %v", v.kind, v.path, err)
				}
			}
		})
	}
	for _, v := range all {
		next <- v
	}
	close(next)
	browsers.Wait()

	stage.Await(t, "Tomcat to log every error", func() bool { return logsAll(s.Logs, all) })
	stage.Await(t, "every error to be sent or counted", func() bool {
		return float64(len(s.Entries("")))+s.Metric("sidecar_enrich_records_unmatched_total") >= float64(count(all, (*visit).fails))
	})
	if code := sidecar.Stop(t); code != 0 {
		t.Errorf("the sidecar ended with %d", code)
	}
	judge(t, all, read(t, gcloud, s.Cloud))
}

func logsAll(dir string, all []visit) bool {
	var text []byte
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files {
		content, _ := os.ReadFile(file)
		text = append(text, content...)
	}
	return !slices.ContainsFunc(all, func(v visit) bool { return v.fails() && !strings.Contains(string(text), v.word) })
}

func count(all []visit, which func(*visit) bool) (n int) {
	for i := range all {
		if which(&all[i]) {
			n++
		}
	}
	return n
}

// read gives what a person with gcloud would see.
func read(t *testing.T, gcloud, cloud string) (entries []stage.Entry) {
	t.Helper()
	cmd := exec.Command(gcloud, "logging", "read", "labels.openReplaySessionToken:*", "--freshness", "1h", "--format", "json")
	cmd.Env = append(os.Environ(), "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING=http://"+cloud+"/",
		"CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true", "CLOUDSDK_CORE_PROJECT="+stage.Project, "CLOUDSDK_CONFIG="+t.TempDir())
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("gcloud logging read: %v\n%s", err, complaint.String())
	}
	if err := json.Unmarshal(out, &entries); err != nil {
		t.Fatalf("gcloud logging read: %v\n%s", err, out)
	}
	return entries
}

// judge compares what arrived with what the browsers did.
func judge(t *testing.T, all []visit, entries []stage.Entry) {
	t.Helper()
	arrived := map[string][]stage.Entry{}
	for _, e := range entries {
		i := slices.IndexFunc(all, func(v visit) bool { return v.wrote(&e) })
		if i < 0 {
			t.Errorf("belongs to no visit, and arrived under %s by %s:\n%.400s", e.Token(), e.Labels["matchedBy"], e.JSONPayload.Message)
			continue
		}
		arrived[all[i].word] = append(arrived[all[i].word], e)
	}
	for _, v := range all {
		v.judge(t, arrived[v.word])
	}
}

// wrote says whether the visit is what the entry is about. An answer of 5xx may arrive as an entry without a record.
func (v *visit) wrote(e *stage.Entry) bool {
	return strings.Contains(e.JSONPayload.Message, v.word) ||
		e.Labels["matchedBy"] == "exchange" && e.Labels["requestId"] == v.id
}

func (v *visit) judge(t *testing.T, mine []stage.Entry) {
	t.Helper()
	want := 0
	if v.named() && v.session != "" {
		want = 1
	}
	if len(mine) < want || len(mine) > 1 {
		t.Errorf("%q of session %q arrived %d times", v.kind, v.session, len(mine))
	}
	for _, e := range mine {
		switch {
		case !v.fails():
			t.Errorf("%q is no error and arrived:\n%.400s", v.kind, e.JSONPayload.Message)
		case e.Token() != v.session:
			t.Errorf("%q of session %q arrived under %q by %s", v.kind, v.session, e.Token(), e.Labels["matchedBy"])
		case v.named() && (e.Labels["requestId"] != v.id || e.Labels["match"] != "exact"):
			t.Errorf("%q names request %s, and arrived with labels %v", v.kind, v.id, e.Labels)
		}
	}
}
