//go:build e2e

// Package noharm proves that an app's clients notice nothing of what befalls the sidecar's other half: the reading of logs
// and their delivery. Each test sets clients on the sidecar, lets one thing go wrong, and compares every single answer with
// what the app sent. Where the fault can pass, the errors of that time must arrive afterwards, once and under their sessions.
package noharm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// newStage puts up an app and all but the sidecar.
func newStage(t *testing.T, tags ...string) (*stage.Stage, *app) {
	a := newApp(t)
	s := stage.New(t, a.URL, tags...)
	a.logsTo(s.Logs)
	return s, a
}

func TestPanic(t *testing.T) {
	for _, part := range []string{"tail", "enrich", "forwarder"} {
		t.Run(part, func(t *testing.T) {
			t.Setenv("SIDECAR_FAULT", part)
			s, a := newStage(t, "faults")
			s.Run()
			l := startLoad(t, s, a)
			rough := l.during("panicking", func() {
				// Of the three panics, two may fall into one life of the parts.
				stage.Await(t, "the restarts", func() bool {
					return s.Metric("sidecar_part_restarts_total", fmt.Sprintf("part=%q", part)) >= 2
				})
			})
			l.during("calm", nothing).slower(t, rough)
			l.end()
			arrived(t, s, a)
		})
	}
}

func TestNoCredentials(t *testing.T) {
	s, a := newStage(t)
	withoutCredentials(t)
	p := asThere(t, s, a, "without credentials", "--plaintext=false")
	p.Kill()
	s.Run() // they are there now
	arrived(t, s, a)
}

// withoutCredentials hides what a developer's machine may have, and puts a metadata server there that never answers: the
// worst place to look for credentials in.
func withoutCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("CLOUDSDK_CONFIG", t.TempDir())
	nobody := newRelay(t, "")
	nobody.swallow()
	t.Setenv("GCE_METADATA_HOST", nobody.Address)
}

// asThere measures a healthy sidecar first, and then one that is started with the flags that make the fault.
func asThere(t *testing.T, s *stage.Stage, a *app, fault string, flags ...string) *stage.Process {
	healthy := s.Run()
	l := startLoad(t, s, a)
	calm := l.during("calm", nothing)
	l.end()
	healthy.Stop(t)
	p := s.Run(flags...)
	l = startLoad(t, s, a)
	calm.slower(t, l.during(fault, nothing))
	l.end()
	return p
}

func TestStandInAway(t *testing.T) {
	s, a := newStage(t)
	s.Cloud = stage.Address(t)
	kept := filepath.Join(s.Dir, "kept")
	cloud := s.StartCloud("--file", kept)
	s.Run()
	l := startLoad(t, s, a)
	calm := l.during("calm", nothing)
	calm.slower(t, l.during("refused", cloud.Kill))
	s.StartCloud("--file", kept)
	l.end()
	arrived(t, s, a)
}

func TestStandInBlackHoled(t *testing.T) {
	s, a := newStage(t)
	way := newRelay(t, s.Cloud)
	s.Run("--endpoint", way.Address)
	l := startLoad(t, s, a)
	calm := l.during("calm", nothing)
	calm.slower(t, l.during("swallowed", way.swallow))
	way.pass()
	l.end()
	arrived(t, s, a)
}

func TestStandInHangs(t *testing.T) {
	s, a := newStage(t)
	s.Cloud = stage.Address(t)
	cloud := s.StartCloud("--file", filepath.Join(s.Dir, "kept"))
	s.Run()
	l := startLoad(t, s, a)
	calm := l.during("calm", nothing)
	calm.slower(t, l.during("hanging", func() { cloud.Process.Signal(syscall.SIGSTOP) }))
	cloud.Process.Signal(syscall.SIGCONT)
	l.end()
	arrived(t, s, a)
}

func TestDiskFillsUp(t *testing.T) {
	s, a := newStage(t)
	s.State = smallDisk(t, "24m")
	s.Run()
	l := startLoad(t, s, a)
	calm := l.during("calm", nothing)
	rough := l.during("full disk", func() { fill(t, s.State) })
	calm.slower(t, rough)
	if err := os.Remove(filepath.Join(s.State, filler)); err != nil {
		t.Fatal(err)
	}
	l.end()
	arrived(t, s, a)
}

func TestDiskFullFromTheStart(t *testing.T) {
	s, a := newStage(t)
	s.State = smallDisk(t, "64k")
	fill(t, s.State)
	s.Run()
	l := startLoad(t, s, a)
	rough := l.during("full disk", nothing)
	if err := os.Remove(filepath.Join(s.State, filler)); err != nil {
		t.Fatal(err)
	}
	l.during("calm", nothing).slower(t, rough)
	l.end()
	arrived(t, s, a)
}

const filler = "filler"

// smallDisk gives a file system of its own that can be full.
func smallDisk(t *testing.T, size string) string {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Fatalf("mount a small disk: %v: this test needs root, or `unshare --map-root-user --mount go test ...`", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill takes what is left of the disk, to the last byte.
func fill(t *testing.T, dir string) {
	file, err := os.Create(filepath.Join(dir, filler))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; {
		if _, err = file.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
}

func TestStateReadOnly(t *testing.T) {
	s, a := newStage(t)
	readOnly := smallDisk(t, "64k")
	if err := syscall.Mount("none", readOnly, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	asThere(t, s, a, "read-only state", "--state", filepath.Join(readOnly, "state"))
	arrived(t, s, a)
}

func TestLogDirectoryMissing(t *testing.T) {
	s, a := newStage(t)
	later := filepath.Join(s.Dir, "later", "deep")
	a.logsTo(later)
	follow(t, s, filepath.Join(later, "*.log"))
	l := startLoad(t, s, a)
	rough := l.during("missing", nothing)
	calm := l.during("calm", func() {
		if err := os.MkdirAll(later, 0o755); err != nil {
			t.Fatal(err)
		}
	})
	calm.slower(t, rough)
	l.end()
	arrived(t, s, a)
}

func TestGlobMatchesNothingYet(t *testing.T) {
	s, a := newStage(t)
	a.logsTo(s.Dir)
	follow(t, s, filepath.Join(s.Logs, "*.log"))
	l := startLoad(t, s, a)
	rough := l.during("no match", nothing)
	if got := s.Entries(""); len(got) > 0 {
		t.Errorf("%d entries of a log that no glob matches", len(got))
	}
	calm := l.during("calm", func() {
		if err := os.Rename(filepath.Join(s.Dir, "app.log"), filepath.Join(s.Logs, "app.log")); err != nil {
			t.Fatal(err)
		}
		a.logsTo(s.Logs)
	})
	calm.slower(t, rough)
	l.end()
	arrived(t, s, a)
}

func TestLogUnreadable(t *testing.T) {
	s, a := newStage(t)
	path := filepath.Join(s.Logs, "app.log")
	if err := os.WriteFile(path, nil, 0o200); err != nil {
		t.Fatal(err)
	}
	asPlainUser(t, s, "--from", "beginning")
	l := startLoad(t, s, a)
	rough := l.during("unreadable", nothing)
	if got := s.Entries(""); len(got) > 0 {
		t.Errorf("%d entries of a log that cannot be read", len(got))
	}
	calm := l.during("calm", func() {
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	})
	calm.slower(t, rough)
	l.end()
	arrived(t, s, a)
}

func TestStateForbidden(t *testing.T) {
	s, a := newStage(t)
	if err := os.Mkdir(s.State, 0o500); err != nil {
		t.Fatal(err)
	}
	asPlainUser(t, s)
	l := startLoad(t, s, a)
	rough := l.during("forbidden state", nothing)
	calm := l.during("calm", func() {
		if err := os.Chmod(s.State, 0o700); err != nil {
			t.Fatal(err)
		}
	})
	calm.slower(t, rough)
	l.end()
	arrived(t, s, a)
}

// asPlainUser starts the sidecar without root's right to pass over permissions, and waits until it is ready.
func asPlainUser(t *testing.T, s *stage.Stage, flags ...string) {
	t.Helper()
	command := append([]string{"setpriv", "--bounding-set", "-dac_override,-dac_read_search"}, program(t, s, filepath.Join(s.Logs, "*"))...)
	if os.Geteuid() != 0 {
		command = command[3:]
	}
	command = append(command, flags...)
	s.AwaitReady(stage.Start(t, "sidecar", exec.Command(stage.Need(t, command[0], "apt-get install util-linux"), command[1:]...)))
}

// follow starts the sidecar with one glob alone, and waits until it is ready.
func follow(t *testing.T, s *stage.Stage, glob string) {
	t.Helper()
	command := program(t, s, glob)
	s.AwaitReady(stage.Start(t, "sidecar", exec.Command(command[0], command[1:]...)))
}

func program(t *testing.T, s *stage.Stage, glob string) []string {
	return []string{stage.Program(t), "run", "--listen", s.Front, "--app", s.App, "--logs", glob, "--state", s.State, "--health", s.Health,
		"--admin", stage.Address(t), "--project", stage.Project, "--endpoint", s.Cloud, "--plaintext", "--pace", "0"}
}

// arrived waits until every error that the app wrote is in the stand-in, and asserts that each is there once, under its own
// session, and nothing else is.
func arrived(t *testing.T, s *stage.Stage, a *app) {
	t.Helper()
	want := a.written()
	if len(want) == 0 {
		t.Fatal("the app wrote no error")
	}
	got := map[string]int{}
	for _, e := range s.AwaitEntries(len(want)) {
		id := e.Labels["requestId"]
		got[id]++
		if session, ok := want[id]; !ok || e.Token() != session {
			t.Errorf("an entry of request %q has session %q, want %q: %s", id, e.Token(), session, e.JSONPayload.Message)
		}
	}
	lost := 0
	for id := range want {
		if got[id] == 0 {
			lost++
		} else if got[id] > 1 {
			t.Errorf("the error of request %q arrived %d times", id, got[id])
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d errors were lost", lost, len(want))
	}
	t.Logf("%d errors arrived", len(want))
}
