package wrap

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain lets the test binary be `sidecar exec` itself: signals and PIDs belong to a process.
func TestMain(m *testing.M) {
	if dir := os.Getenv("WRAP_DIR"); dir != "" {
		code, err := Run(Config{Command: os.Args[1:], Dir: dir, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func wrapped(t *testing.T, dir string, command ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], command...)
	cmd.Env = append(os.Environ(), "WRAP_DIR="+dir)
	return cmd
}

func content(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBothStreamsAndTheCodePassThrough(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	cmd := wrapped(t, dir, "sh", "-c", "cat; echo out; echo err >&2; exit 7")
	cmd.Stdin = strings.NewReader("in\n")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	for _, test := range []struct{ what, got, want string }{
		{"stdout", out.String(), "in\nout\n"}, {"stderr", errs.String(), "err\n"},
		{"copy of stdout", content(t, dir, "stdout.log"), "in\nout\n"}, {"copy of stderr", content(t, dir, "stderr.log"), "err\n"},
	} {
		if test.got != test.want {
			t.Errorf("%s = %q, want %q", test.what, test.got, test.want)
		}
	}
}

func TestSignalsPassThrough(t *testing.T) {
	cmd := wrapped(t, t.TempDir(), "sh", "-c", `trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.01; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	io.ReadFull(out, make([]byte, len("ready\n")))
	cmd.Process.Signal(syscall.SIGTERM)
	rest, _ := io.ReadAll(out)
	cmd.Wait()
	if string(rest) != "got it\n" || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("printed %q, exit code %d", rest, cmd.ProcessState.ExitCode())
	}
}

func TestADeadlySignalBecomesItsCode(t *testing.T) {
	cmd := wrapped(t, t.TempDir(), "sh", "-c", "kill -9 $$")
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 128+9 {
		t.Errorf("exit code %d, want 137", code)
	}
}

func TestNoSuchCommand(t *testing.T) {
	cmd := wrapped(t, t.TempDir(), "no-such-command-here")
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 127 || !strings.Contains(string(out), "no-such-command-here") {
		t.Errorf("exit code %d, printed %q", code, out)
	}
}

func TestACopyThatFailsHoldsNobodyBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := wrapped(t, file, "echo", "out") // a directory cannot be where a file is
	out, err := cmd.Output()
	if err != nil || string(out) != "out\n" {
		t.Errorf("printed %q, %v", out, err)
	}
}

func TestCopiesAreBounded(t *testing.T) {
	dir := t.TempDir()
	c := &copyFile{path: filepath.Join(dir, "stdout.log"), max: 100}
	for i := range 55 {
		c.write(fmt.Appendf(nil, "line %04d\n", i))
	}
	c.close()
	newest, older := content(t, dir, "stdout.log"), content(t, dir, "stdout.log.1")
	if len(older) != 100 || !strings.HasSuffix(older+newest, "line 0054\n") {
		t.Errorf("kept %q and %q", older, newest)
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	dir := t.TempDir()
	c := &copyFile{path: filepath.Join(dir, "not yet", "stdout.log")}
	c.write([]byte("lost\n"))
	if err := os.Mkdir(filepath.Join(dir, "not yet"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.write([]byte("kept\n"))
	c.close()
	if got, want := content(t, dir, "not yet/stdout.log"), "[sidecar exec: 5 bytes are missing here]\nkept\n"; got != want {
		t.Errorf("the copy is %q, want %q", got, want)
	}
}
