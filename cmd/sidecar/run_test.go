package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

const token = "jw4wdfpgqhoj.3az.lrraavgc.ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4sndRrpZevt3q"

// shop starts the demo's legacy app with its log in the stage's directory.
func shop(t *testing.T) *stage.Stage {
	t.Helper()
	addr := stage.Address(t)
	s := stage.New(t, "http://"+addr)
	stage.Start(t, "app", exec.Command(stage.Program(t), "demo-app", addr, filepath.Join(s.Logs, "shop.log")))
	stage.Await(t, "the app", func() bool {
		answer, err := http.Get("http://" + addr)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return true
	})
	return s
}

// ship makes the app fail for a user.
func ship(t *testing.T, s *stage.Stage, order, token string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://"+s.Front+"/orders/"+order+"/ship", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-OpenReplay-SessionToken", token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusInternalServerError {
		t.Fatalf("the app answers %s, %v", answer.Status, err)
	}
}

// TestSinkStdout: for clusters whose nodes' agent ships what a container prints.
func TestSinkStdout(t *testing.T) {
	s := shop(t)
	p := s.Run("--sink", "stdout", "--openreplay-url", "https://app.openreplay.com", "--openreplay-project", "7")
	ship(t, s, "4711", token)
	var line map[string]any
	stage.Await(t, "the line", func() bool { return findLine(p.Output(), "4711", &line) })
	labels, _ := line["logging.googleapis.com/labels"].(map[string]any)
	if line["severity"] != "ERROR" || labels["openReplaySessionToken"] != token || labels["openReplaySession.id"] != "2618307011354435587" {
		t.Errorf("the line says %v", line)
	}
	if url, _ := labels["openReplaySessionURL"].(string); !strings.HasPrefix(url, "https://app.openreplay.com/7/session/2618307011354435587?jumpto=") {
		t.Errorf("the link is %q", url)
	}
	if got := s.Entries(""); len(got) != 0 {
		t.Errorf("%d entries went to Cloud Logging", len(got))
	}
}

func findLine(out, word string, line *map[string]any) bool {
	for text := range strings.Lines(out) {
		if strings.Contains(text, word) && json.Unmarshal([]byte(text), line) == nil {
			return true
		}
	}
	return false
}

// TestEventTime: for those who do not use OpenReplay's reader.
func TestEventTime(t *testing.T) {
	s := shop(t)
	s.Run("--timestamp", "event")
	ship(t, s, "4711", token)
	e := s.AwaitEntries(1)[0]
	if event, err := time.Parse(time.RFC3339Nano, e.JSONPayload.EventTime); err != nil || !event.Equal(e.Timestamp) {
		t.Errorf("timestamp %v, eventTime %q", e.Timestamp, e.JSONPayload.EventTime)
	}
}

// TestAKillBetweenRequestAndLine: the session of a request is still known to the next life of the sidecar.
func TestAKillBetweenRequestAndLine(t *testing.T) {
	s := shop(t)
	logs := s.Logs
	s.Logs = t.TempDir() // this life does not follow the app's log
	first := s.Run()
	ship(t, s, "4711", token)
	first.Kill()
	s.Logs = logs
	s.Run("--from", "beginning")
	if e := s.AwaitEntries(1)[0]; e.Token() != token {
		t.Errorf("the entry has the session %q", e.Token())
	}
}

// TestStandardInput: the app's own output can be piped in.
func TestStandardInput(t *testing.T) {
	s := shop(t)
	in, app, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	path := filepath.Join(s.Logs, "shop.log")
	s.Logs = t.TempDir() // nothing is found there
	cmd := s.Command("--logs", "-")
	cmd.Stdin = in
	s.AwaitReady(stage.Start(t, "sidecar", cmd))
	in.Close()
	ship(t, s, "4711", token)
	log, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := bufio.NewReader(log).WriteTo(app); err != nil {
		t.Fatal(err)
	}
	e := s.AwaitEntries(1)[0]
	if e.Token() != token || e.JSONPayload.Source.File != "-" {
		t.Errorf("the entry: %+v", e)
	}
}

// TestItsOwnCosts: the kernel may wake it late, it is still known by its name, and its start is not kept in memory.
func TestItsOwnCosts(t *testing.T) {
	pid := shop(t).Run().Cmd.Process.Pid
	file := func(name string) string {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(content))
	}
	if got := file("timerslack_ns"); got != "1000000" {
		t.Errorf("the timer slack is %s ns", got)
	}
	if got := file("comm"); got != "sidecar" {
		t.Errorf("the process is called %q", got)
	}
	var mapped, size int // KiB
	_, rest, _ := strings.Cut(file("status"), "RssFile:")
	fmt.Sscan(rest, &mapped)
	if info, err := os.Stat(stage.Program(t)); err == nil {
		size = int(info.Size() >> 10)
	}
	if mapped == 0 || mapped > size/2 {
		t.Errorf("%d of the program's %d KiB are mapped", mapped, size)
	}
}
