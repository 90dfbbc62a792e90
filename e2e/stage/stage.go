// Package stage puts the real parts up for a test: the sidecar and the Cloud Logging stand-in as processes of their own,
// built from this tree, on ports that nobody else uses.
package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Project is the Google Cloud project that the stand-in is written to.
const Project = "e2e"

var build struct {
	sync.Mutex
	programs map[string]string
}

// Program builds the sidecar, with build tags where given, and returns its path. It is built once a test binary.
func Program(t testing.TB, tags ...string) string {
	t.Helper()
	build.Lock()
	defer build.Unlock()
	key := strings.Join(tags, ",")
	if path := build.programs[key]; path != "" {
		return path
	}
	dir, err := os.MkdirTemp("", "sidecar-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "sidecar")
	args := []string{"build", "-tags", key, "-o", path}
	if os.Getenv("STAGE_RACE") != "" { // the sidecar under the race detector
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "github.com/openreplay/log-sidecar/cmd/sidecar")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the sidecar: %v\n%s", err, out)
	}
	if build.programs == nil {
		build.programs = map[string]string{}
	}
	build.programs[key] = path
	return path
}

// Address gives a loopback address that nobody listens on. It is one of the many of 127.0.0.0/8: a port of 127.0.0.1 that is
// free now can be a client's end of a connection in a moment.
func Address(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// Need fails the test with the way out where a real part is missing: never a skip.
func Need(t testing.TB, program, install string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is needed for this test: %s", program, install)
	}
	return path
}

// A Process is a part that runs; it is killed with its children when the test ends.
type Process struct {
	*exec.Cmd
	name string
	out  string // the file with what it printed
	done chan struct{}
}

// Start starts a command as a process group of its own. What it prints is shown when the test fails.
func Start(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "*.out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = out
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	p := &Process{cmd, name, out.Name(), make(chan struct{})}
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, p.excerpt())
		}
	})
	return p
}

// Output is what the process has printed so far.
func (p *Process) Output() string {
	content, _ := os.ReadFile(p.out)
	return string(content)
}

// excerpt is the beginning and the end: a crash says its reason first.
func (p *Process) excerpt() string {
	const part = 6 << 10
	out := p.Output()
	if len(out) <= 2*part {
		return out
	}
	return out[:part] + "\n[...]\n" + out[len(out)-part:]
}

// Kill sends SIGKILL to the process and its children and waits for its end.
func (p *Process) Kill() {
	syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// Stop sends SIGTERM and waits; it returns the exit code.
func (p *Process) Stop(t testing.TB) int {
	t.Helper()
	p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(40 * time.Second):
		t.Errorf("%s does not end on SIGTERM", p.name)
		p.Kill()
	}
	return p.ProcessState.ExitCode()
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

// A Stage is a stand-in, and what a sidecar needs to be started, killed and started again over the same state.
type Stage struct {
	t       testing.TB
	program string
	Dir     string // of the test
	Logs    string // directory of the app's log files
	State   string
	Cloud   string // address of the stand-in
	Front   string // where clients come in
	Health  string
	admin   string
	App     string // URL of the app
}

// New starts a stand-in. appURL is where the app is or will be.
func New(t testing.TB, appURL string, tags ...string) *Stage {
	t.Helper()
	s := &Stage{t: t, program: Program(t, tags...), Dir: t.TempDir(), App: appURL,
		Cloud: Address(t), Front: Address(t), Health: Address(t), admin: Address(t)}
	s.Logs, s.State = filepath.Join(s.Dir, "logs"), filepath.Join(s.Dir, "state")
	if err := os.Mkdir(s.Logs, 0o755); err != nil {
		t.Fatal(err)
	}
	s.StartCloud("--file", filepath.Join(s.Dir, "cloud"))
	return s
}

// StartCloud starts the stand-in again, after it was killed, with what it had.
func (s *Stage) StartCloud(args ...string) *Process {
	s.t.Helper()
	p := Start(s.t, "stand-in", exec.Command(s.program, append([]string{"cloud", "--listen", s.Cloud}, args...)...))
	Await(s.t, "the stand-in", func() bool { return Dials(s.Cloud) })
	return p
}

// Run starts the sidecar and waits until it is ready. Further flags come after the stage's own, so that they win.
func (s *Stage) Run(flags ...string) *Process {
	s.t.Helper()
	p := s.Launch(flags...)
	s.AwaitReady(p)
	return p
}

// Launch starts the sidecar and does not wait.
func (s *Stage) Launch(flags ...string) *Process {
	s.t.Helper()
	return Start(s.t, "sidecar", s.Command(flags...))
}

// Command is what Launch starts.
func (s *Stage) Command(flags ...string) *exec.Cmd {
	args := append([]string{"run", "--listen", s.Front, "--app", s.App, "--logs", filepath.Join(s.Logs, "*"),
		"--state", s.State, "--health", s.Health, "--admin", s.admin,
		"--project", Project, "--endpoint", s.Cloud, "--plaintext", "--pace", "0"}, flags...)
	cmd := exec.Command(s.program, args...)
	cmd.Env = append(os.Environ(), "GOTRACEBACK=all")
	return cmd
}

// AwaitReady waits until /readyz says that requests are accepted and forwarded.
func (s *Stage) AwaitReady(p *Process) {
	s.t.Helper()
	Await(s.t, "the sidecar to be ready", func() bool {
		select {
		case <-p.Ended():
			s.t.Fatalf("the sidecar has ended:\n%s", p.excerpt())
		default:
		}
		answer, err := http.Get("http://" + s.Health + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// Dials says whether somebody accepts connections at an address.
func Dials(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Await asks every few milliseconds until done says yes; after half a minute the test has failed.
func Await(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		case <-ticker.C:
		}
	}
}

// An Entry is one as REST shows it, as far as tests look.
type Entry struct {
	InsertID    string            `json:"insertId"`
	Timestamp   time.Time         `json:"timestamp"`
	Severity    string            `json:"severity"`
	Labels      map[string]string `json:"labels"`
	JSONPayload struct {
		Message   string          `json:"message"`
		EventTime string          `json:"eventTime"`
		Record    json.RawMessage `json:"record"`
		Context   struct {
			HTTPRequest struct {
				Method, URL        string
				ResponseStatusCode int
				Latency            string
			} `json:"httpRequest"`
		} `json:"context"`
		Source struct {
			File           string
			Offset, Length int64
		} `json:"source"`
	} `json:"jsonPayload"`
}

// Token is the session that the entry belongs to.
func (e *Entry) Token() string { return e.Labels["openReplaySessionToken"] }

// Entries gives all entries of the stand-in that the filter finds, oldest first.
func (s *Stage) Entries(filter string) []Entry {
	s.t.Helper()
	var all []Entry
	for token := ""; ; {
		page, err := s.list(filter, token)
		if err != nil {
			s.t.Fatalf("read from the stand-in: %v", err)
		}
		all = append(all, page.Entries...)
		if token = page.NextPageToken; token == "" {
			return all
		}
	}
}

type listed struct {
	Entries       []Entry
	NextPageToken string
}

func (s *Stage) list(filter, token string) (page listed, err error) {
	body, err := json.Marshal(map[string]any{"resourceNames": []string{"projects/" + Project}, "pageSize": 1000,
		"orderBy": "timestamp asc", "filter": filter, "pageToken": token})
	if err != nil {
		return page, err
	}
	answer, err := http.Post("http://"+s.Cloud+"/v2/entries:list", "application/json", bytes.NewReader(body))
	if err != nil {
		return page, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		return page, fmt.Errorf("%s: %s", answer.Status, text)
	}
	return page, json.NewDecoder(answer.Body).Decode(&page)
}

// AwaitEntries waits until the stand-in has n entries, and returns them all.
func (s *Stage) AwaitEntries(n int) []Entry {
	s.t.Helper()
	var entries []Entry
	Await(s.t, fmt.Sprintf("%d entries", n), func() bool {
		entries = s.Entries("")
		return len(entries) >= n
	})
	return entries
}

// Metric gives the sum of a metric of the sidecar over its labels, of those with all the given parts in their label text.
func (s *Stage) Metric(name string, with ...string) float64 {
	s.t.Helper()
	answer, err := http.Get("http://" + s.Health + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(string(text)) {
		head, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if bare, _, _ := strings.Cut(head, "{"); bare != name || !containsAll(head, with) {
			continue
		}
		var v float64
		fmt.Sscan(value, &v)
		sum += v
	}
	return sum
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
