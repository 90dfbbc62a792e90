//go:build e2e

// Package shared has several sidecars share what they learn of sessions through Debian's real Redis server.
package shared

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/openreplay/log-sidecar/e2e/stage"
	"github.com/openreplay/log-sidecar/internal/testcert"
	"github.com/openreplay/log-sidecar/session"
	"github.com/openreplay/log-sidecar/session/shared"
)

// A server is a redis-server of the test's own.
type server struct {
	t       testing.TB
	addr    string
	flags   []string
	process *stage.Process
}

func startServer(t testing.TB, flags ...string) *server {
	t.Helper()
	s := &server{t: t, addr: stage.Address(t), flags: flags}
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	flags := append([]string{"--bind", host, "--port", port, "--save", "", "--dir", s.t.TempDir()}, s.flags...)
	s.process = stage.Start(s.t, "redis-server", exec.Command(stage.Need(s.t, "redis-server", "apt-get install redis-server"), flags...))
	stage.Await(s.t, "the server to listen", func() bool { return stage.Dials(s.addr) })
}

func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.process.Cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// A pod is what one sidecar has of all this.
type pod struct {
	*session.Memory
	metrics *prometheus.Registry
	said    *observer.ObservedLogs
}

func newPod(t testing.TB, text string) *pod {
	t.Helper()
	file := filepath.Join(t.TempDir(), "shared-sessions")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := shared.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	core, said := observer.New(zap.InfoLevel)
	p := &pod{metrics: prometheus.NewRegistry(), said: said}
	client := shared.New(server, zap.New(core), p.metrics)
	if p.Memory, err = session.Open(session.Config{Key: server.Key, Shared: client}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { client.Run(ctx, p.Heard) })
	t.Cleanup(func() { cancel(); running.Wait(); p.Close() })
	return p
}

func (p *pod) count(result string) float64 {
	families, _ := p.metrics.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "sidecar_session_shared_total" && has(m, result) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func has(m *dto.Metric, value string) bool {
	for _, l := range m.GetLabel() {
		if l.GetValue() == value {
			return true
		}
	}
	return false
}

// cookie is the app's own, of the n-th browser.
func cookie(n int) []string {
	return []string{fmt.Sprintf("JSESSIONID=5B1E9C3D7A8F4E2C9B0A6D3F1E7C%04X", n)}
}

func token(n int) string { return fmt.Sprintf("jw4wdfpgq%04d.3az.lrraavgc.ovJ2jwk7BEAZr3hB", n) }

// knows waits until a request with the n-th browser's cookie alone has its session.
func (p *pod) knows(t testing.TB, n int) {
	t.Helper()
	key := p.Key(cookie(n), "")
	stage.Await(t, fmt.Sprintf("the session of browser %d to be known", n), func() bool {
		found, _, _ := p.Find(key, time.Now(), false)
		return found == token(n)
	})
}

func (p *pod) learn(n int) { p.Teach(p.Key(cookie(n), ""), cookie(n), token(n), uint64(n)) }

func TestWhatOnePodLearnsTheOthersKnow(t *testing.T) {
	s := startServer(t)
	address := "redis://" + s.addr + "\na secret of these tests"
	one, two := newPod(t, address), newPod(t, address)
	for n := 1; n <= 50; n++ {
		one.learn(n)
		two.knows(t, n)
	}
	if other := newPod(t, "redis://"+s.addr+"\nanother secret"); other.Key(cookie(1), "") == one.Key(cookie(1), "") {
		t.Error("the secret is not in the hash of a cookie")
	}
	out, err := exec.Command("redis-cli", "-u", "redis://"+s.addr, "--scan").CombinedOutput()
	if err != nil || bytes.Count(out, []byte("openreplay-sessions:")) != 50 || bytes.Contains(out, []byte("JSESSIONID")) || bytes.Contains(out, []byte("5B1E9C3D")) {
		t.Errorf("%v; the server's keys are\n%s", err, out)
	}
}

// TestAContestedValueIsNobodysEverywhere: two tabs, each with a session of its own, on two pods.
func TestAContestedValueIsNobodysEverywhere(t *testing.T) {
	s := startServer(t)
	address := "redis://" + s.addr + "\nsecret"
	one, two, three := newPod(t, address), newPod(t, address), newPod(t, address)
	one.learn(1)
	three.knows(t, 1)
	key := two.Key(cookie(1), "")
	two.Teach(key, cookie(1), token(2), 2)
	stage.Await(t, "the third pod to hear of both", func() bool {
		_, _, why := three.Find(key, time.Now(), false)
		return why == session.Contested
	})
}

// TestNothingWaitsForTheServer: while it hangs, is gone or is full, calls return, and what could not be shared is counted.
func TestNothingWaitsForTheServer(t *testing.T) {
	s := startServer(t)
	address := "redis://" + s.addr + "\nsecret"
	one, two := newPod(t, address), newPod(t, address)
	one.learn(1)
	two.knows(t, 1)

	s.signal(syscall.SIGSTOP)
	for n := 2; n < 5000; n++ { // more than may wait
		one.learn(n)
		one.Find(one.Key(cookie(n+5000), ""), time.Now(), true)
	}
	stage.Await(t, "the failure to be counted", func() bool { return one.count("failed") > 0 })
	if one.count("dropped") == 0 {
		t.Error("nothing was dropped: something waited")
	}
	if one.said.FilterMessageSnippet("not shared").Len() != 1 {
		t.Errorf("it said %v", one.said.All())
	}
	s.signal(syscall.SIGCONT)
	stage.Await(t, "the connection to come back", func() bool {
		one.learn(6000)
		one.Teach(one.Key(cookie(6001), ""), cookie(6001), fmt.Sprintf("a.b.c.%d", time.Now().UnixNano()), 0)
		return one.said.FilterMessageSnippet("again").Len() == 1
	})

	s.process.Kill()
	<-s.process.Ended()
	one.learn(7000)
	stage.Await(t, "the loss to be noticed", func() bool {
		one.Teach(one.Key(cookie(7001), ""), cookie(7001), fmt.Sprintf("a.b.c.%d", time.Now().UnixNano()), 0)
		return one.said.FilterMessageSnippet("not shared").Len() == 2
	})
	s.start()
	stage.Await(t, "the server's return to be noticed", func() bool {
		one.Teach(one.Key(cookie(7002), ""), cookie(7002), fmt.Sprintf("a.b.c.%d", time.Now().UnixNano()), 0)
		return one.said.FilterMessageSnippet("again").Len() == 2
	})
	one.learn(8000)
	two.knows(t, 8000)
}

func TestAFullServer(t *testing.T) {
	s := startServer(t, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
	p := newPod(t, "redis://"+s.addr+"\nsecret")
	p.learn(1)
	stage.Await(t, "the refusal to be said", func() bool { return p.said.FilterMessageSnippet("not shared").Len() == 1 })
	if found, _, _ := p.Find(p.Key(cookie(1), ""), time.Now(), false); found != token(1) {
		t.Error("what the pod has learned itself is gone")
	}
}

// TestTheLeastThatMustBeAllowed: an ACL of four commands on our keys, by TLS; and a wrong password, which is not repeated in the log.
func TestTheLeastThatMustBeAllowed(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, strings.Fields("--user sidecar on >open-sesame ~openreplay-sessions:* +hset +hsetnx +hgetall +pexpire --user default off")...)
	host, port, _ := net.SplitHostPort(s.addr)
	cert, key := testcert.New(t, host).Write(t, dir)
	one, two := newPod(t, "redis://sidecar:open-sesame@"+s.addr), newPod(t, "redis://sidecar:open-sesame@"+s.addr)
	one.learn(1)
	two.knows(t, 1)
	wrong := newPod(t, "redis://sidecar:close-sesame@"+s.addr)
	wrong.learn(2)
	stage.Await(t, "the wrong password to be said", func() bool { return wrong.said.FilterMessageSnippet("not shared").Len() == 1 })
	if said := fmt.Sprint(wrong.said.All()[0].ContextMap()); !strings.Contains(said, "WRONGPASS") || strings.Contains(said, "sesame") {
		t.Errorf("it said %s", said)
	}
	s.process.Kill()
	<-s.process.Ended()

	s.flags = append(s.flags, "--port", "0", "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key,
		"--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	s.start()
	t.Setenv("SSL_CERT_FILE", cert)
	secure := "rediss://sidecar:open-sesame@" + s.addr
	three, four := newPod(t, secure), newPod(t, secure)
	three.learn(3)
	four.knows(t, 3)
}

// TestAFormPostOnAnotherPod: the script's call goes to one pod, and the form to another, where it fails.
func TestAFormPostOnAnotherPod(t *testing.T) {
	redis := startServer(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "shared-sessions")
	if err := os.WriteFile(file, []byte("redis://"+redis.addr+"\nsecret"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out *os.File
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			fmt.Fprintf(out, "%s ERROR order %s failed\n", time.Now().UTC().Format(time.RFC3339Nano), r.Header.Get("X-Request-ID"))
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer app.Close()
	first := stage.New(t, app.URL)
	first.Run("--shared-sessions", file)
	second := stage.New(t, app.URL)
	var err error
	if out, err = os.Create(filepath.Join(second.Logs, "app.log")); err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	second.Run("--shared-sessions", file)

	ask := func(method, front string, header bool) {
		r, _ := http.NewRequest(method, "http://"+front+"/order", nil)
		r.Header.Set("Cookie", cookie(1)[0])
		if header {
			r.Header.Set("X-OpenReplay-SessionToken", token(1))
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	ask("GET", first.Front, true)
	ask("POST", second.Front, false)
	entry := second.AwaitEntries(1)[0]
	if entry.Token() != token(1) || entry.Labels["sessionBy"] != "learned" {
		t.Errorf("the form's error arrived with %v", entry.Labels)
	}
}
