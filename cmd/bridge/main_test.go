package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/openreplay/log-sidecar/internal/localcloud"
	"github.com/openreplay/log-sidecar/internal/testcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// standIn starts the Cloud Logging stand-in and gives its address.
func standIn(t *testing.T) string {
	t.Helper()
	server, err := localcloud.New(localcloud.Config{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		<-served
	})
	return listener.Addr().String()
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A logLines hands on the lines that are written to it.
type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer
	up   chan map[string]any
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var fields map[string]any
	if json.Unmarshal(line, &fields) == nil && fields["message"] == "the bridge is up" {
		l.up <- fields
	}
	return l.text.Write(line)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// serving runs bridge serve until the test ends, and gives its addresses.
func serving(t *testing.T, args ...string) (front, health string, log *logLines) {
	t.Helper()
	log = &logLines{up: make(chan map[string]any, 1)}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- start(ctx, process{io.Discard, log}, append([]string{"serve", "--listen", "127.0.0.1:0", "--health", "127.0.0.1:0"}, args...))
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("exit %d: %s", code, log)
		}
	})
	select {
	case up := <-log.up:
		return up["listen"].(string), up["health"].(string), log
	case code := <-ended:
		ended <- code
		t.Fatalf("exit %d: %s", code, log)
	}
	return
}

func get(t *testing.T, client *http.Client, url, authorization string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", authorization)
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func newClient(t *testing.T, config *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestAKeyMadeIsAKeyThatServes(t *testing.T) {
	var line bytes.Buffer
	if code := start(t.Context(), process{&line, io.Discard}, []string{"key", "dashboard", "shop", "openreplay-errors"}); code != 0 {
		t.Fatal(code)
	}
	words := strings.Fields(line.String())
	front, health, _ := serving(t, "--keys", file(t, "keys", line.String()), "--endpoint", standIn(t), "--plaintext")
	client := newClient(t, nil)
	key := "ApiKey " + base64.StdEncoding.EncodeToString([]byte(words[0]+":"+words[1]))
	if status, body := get(t, client, "http://"+front+"/logs/_search", key); status != 200 || !strings.Contains(body, `"_id":"bridge"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get(t, client, "http://"+front+"/", ""); status != http.StatusUnauthorized {
		t.Errorf("without a key: %d", status)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": `bridge_searches_total{outcome="validation"} 1`} {
		if status, body := get(t, client, "http://"+health+path, ""); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
	}
}

func TestCheckSaysWhatWorksAndTheWayOut(t *testing.T) {
	cloud := standIn(t)
	good := file(t, "keys", "one long-enough-secret-1234 shop a\ntwo long-enough-secret-5678 shop a\nthree long-enough-secret-9 bank a,b\n")
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	for _, test := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"all is well", []string{"--keys", good, "--endpoint", cloud, "--plaintext"}, 0, []string{
			"ok    keys          " + good + "\n",
			"ok    Cloud Logging bank, a,b: can be read; no entry has the label openReplaySession.id yet\n",
			"ok    Cloud Logging shop, a: can be read"}},
		{"no way to Google", []string{"--keys", good, "--endpoint", nobody.Addr().String(), "--plaintext"}, 1, []string{
			"FAIL  Cloud Logging shop, a: ", "is the way to logging.googleapis.com:443 (or --endpoint) open?"}},
		{"a wrong key line", []string{"--keys", file(t, "keys", "one two\n"), "--endpoint", cloud, "--plaintext"}, 1, []string{
			"FAIL  keys          ", "line 1: has 2 words"}},
		{"no certificate", []string{"--keys", good, "--endpoint", cloud, "--plaintext", "--tls-cert", "none", "--tls-key", "none"}, 1, []string{
			"FAIL  certificate   --tls-cert and --tls-key: open none"}},
	} {
		var out bytes.Buffer
		if code := start(t.Context(), process{&out, &out}, append([]string{"check"}, test.args...)); code != test.code {
			t.Errorf("%s: exit %d", test.name, code)
		}
		for _, says := range test.says {
			if !strings.Contains(out.String(), says) {
				t.Errorf("%s: %q is not in\n%s", test.name, says, out.String())
			}
		}
	}
}

func TestACommandLineThatIsWrong(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		says []string
	}{
		{nil, 0, []string{"bridge serve", "bridge check", "bridge key"}},
		{[]string{"serve", "--help"}, 0, []string{"-settle", "-quota CALLS"}},
		{[]string{"sevre"}, 2, []string{`unknown command "sevre"`}},
		{[]string{"serve"}, 2, []string{"--keys is missing"}},
		{[]string{"serve", "--plaintext", "--tls-cert", "x", "--settle", "-1s", "--quota", "-1", "more"}, 2, []string{
			"--keys is missing", "--tls-cert and --tls-key need each other", "--plaintext needs --endpoint", "--settle is negative", "--quota is negative", "more"}},
		{[]string{"serve", "--keys", "/nowhere/keys", "--endpoint", "127.0.0.1:1", "--plaintext"}, 1, []string{"/nowhere/keys"}},
		{[]string{"key", "only-an-id"}, 2, []string{"key needs ID PROJECT LOG"}},
		{[]string{"key", "id", "BAD PROJECT", "log"}, 2, []string{"words"}},
	} {
		var out bytes.Buffer
		if code := start(t.Context(), process{&out, &out}, test.args); code != test.code {
			t.Errorf("%q: exit %d", test.args, code)
		}
		for _, says := range test.says {
			if !strings.Contains(out.String(), says) {
				t.Errorf("%q: %q is not in\n%s", test.args, says, out.String())
			}
		}
	}
}

// The quota is Google's: the stand-in has none, unless one is asked for.
func TestQuotaWithTheStandIn(t *testing.T) {
	for _, test := range []struct {
		args []string
		want int
	}{
		{[]string{"--keys", "k"}, 60},
		{[]string{"--keys", "k", "--endpoint", "e", "--plaintext"}, 0},
		{[]string{"--keys", "k", "--endpoint", "e", "--plaintext", "--quota", "30"}, 30},
	} {
		if o, err := parse("serve", test.args, io.Discard); err != nil || o.quota != test.want {
			t.Errorf("%q: %d, %v", test.args, o.quota, err)
		}
	}
}

func TestTLS(t *testing.T) {
	pair := testcert.New(t, "127.0.0.1")
	certFile, keyFile := pair.Write(t, t.TempDir())
	front, _, _ := serving(t, "--keys", file(t, "keys", "id long-enough-secret-1234 shop a"), "--endpoint", standIn(t), "--plaintext",
		"--tls-cert", certFile, "--tls-key", keyFile)
	key := "ApiKey " + base64.StdEncoding.EncodeToString([]byte("id:long-enough-secret-1234"))
	if status, body := get(t, newClient(t, &tls.Config{RootCAs: pair.Pool()}), "https://"+front+"/", key); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get(t, newClient(t, nil), "http://"+front+"/", key); status != http.StatusBadRequest {
		t.Errorf("plain HTTP on the TLS port: %d", status)
	}
}
