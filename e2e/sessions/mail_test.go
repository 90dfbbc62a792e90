//go:build e2e

package sessions

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// TestWorkThatNamesTheSession: mail is sent behind the answer, by Tomcat and Express half a second later, and what fails of it is
// logged with the app's own session ID. That tells whose it is, whatever else goes on then.
func TestWorkThatNamesTheSession(t *testing.T) {
	for _, start := range []func(*testing.T) *app{startTomcat, startPHP, startExpress} {
		a := start(t)
		t.Run(a.name, func(t *testing.T) {
			s := stage.New(t, a.url)
			s.Logs = a.logs
			s.Run()
			const people = 8
			want := map[string]string{}
			for i := range people {
				jar, _ := cookiejar.New(nil) // never fails without options
				client := &http.Client{Jar: jar}
				token, word := fmt.Sprintf("vd2sdvs5a32%d.29d.mx3jxk7d.GsivwNtoVFLq9eMo7Y1G", i), fmt.Sprintf("K%dMAIL", i)
				want[word] = token
				request(t, client, "GET", s.Front+"/", token, nil)
				request(t, client, "POST", s.Front+"/mail", token, url.Values{"ref": {word}})
			}
			stage.Await(t, "the errors of all", func() bool { return len(s.Entries("")) >= people })
			for _, e := range s.Entries("") {
				message := e.JSONPayload.Message
				word := message[strings.LastIndex(message[:strings.Index(message+"\n", "\n")], " ")+1:]
				word, _, _ = strings.Cut(word, "\n")
				if e.Token() != want[word] || e.Labels["matchedBy"] != "appSession" || e.Labels["match"] != "exact" {
					t.Errorf("%s is said to be of %s by %s, want %s: %s", word, e.Token(), e.Labels["matchedBy"], want[word], message)
				}
				delete(want, word)
			}
			if len(want) > 0 {
				t.Errorf("not found: %v", want)
			}
		})
	}
}

// request makes a request as a page with the tracker does.
func request(t *testing.T, client *http.Client, method, address, token string, form url.Values) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-OpenReplay-SessionToken", token)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode >= 400 {
		t.Fatalf("%s %s: %s", method, address, answer.Status)
	}
}
