package proxy

import (
	"testing"
	"time"
)

func TestKeepAliveOfTheApp(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"timeout=5": 4 * time.Second, "timeout=5, max=100": 4 * time.Second, "max=100,Timeout=15": 14 * time.Second,
		`timeout="60"`: 59 * time.Second, "timeout=1": 500 * time.Millisecond, "timeout=2": time.Second, "timeout=0": 0,
		"": -1, "max=5": -1, "timeout=": -1, "timeout=-5": -1, "timeout=99999999999": -1, "timeout=x": -1,
	} {
		keeps, ok := parseKeepAlive(value)
		if got := idleFor(keeps); !ok && want != -1 || ok && got != want {
			t.Errorf("%q: %v, %v", value, got, ok)
		}
	}
}

func FuzzKeepAlive(f *testing.F) {
	f.Add("timeout=5, max=100")
	f.Fuzz(func(t *testing.T, value string) {
		if keeps, ok := parseKeepAlive(value); ok && (idleFor(keeps) < 0 || idleFor(keeps) >= keeps) {
			t.Errorf("%q: idle for %v of %v", value, idleFor(keeps), keeps)
		}
	})
}

// The app's shortest word counts: a balancer of several may say different things.
func TestTheShortestKeepAliveCounts(t *testing.T) {
	a, err := newApp(Config{App: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		said string
		want time.Duration
	}{{"", defaultIdle}, {"timeout=60", 59 * time.Second}, {"timeout=5", 4 * time.Second}, {"timeout=30", 4 * time.Second}, {"timeout=0", 0}} {
		a.learn(step.said)
		if got := a.h1.kept(); got != step.want {
			t.Errorf("after %q: %v", step.said, got)
		}
	}
}
