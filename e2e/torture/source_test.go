//go:build e2e

package torture

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// sourceRows are where logs come from, and what a machine can lack.
var sourceRows = []row{
	{"named pipe", "SIGKILL", "app.pipe", func(w *world) { w.namedPipe(nothing, nothing) }},
	{"named pipe", "SIGKILL in an outage", "app.pipe", func(w *world) { w.namedPipe(w.cloudDown, w.cloudUp) }},
	{"standard input", "SIGKILL", "-", func(w *world) { w.standardInput(nothing, nothing) }},
	{"standard input", "SIGKILL in an outage", "-", func(w *world) { w.standardInput(w.cloudDown, w.cloudUp) }},
	{"sidecar exec", "none", "stdout.log", func(w *world) { w.wrapped(nothing) }},
	{"sidecar exec", "SIGKILL", "stdout.log", func(w *world) { w.wrapped(func() { w.kill(); w.launch() }) }},
	{"nobody rotates, --logs-room", "SIGKILL", "", func(w *world) { w.warned() }},
	{"nobody rotates, --free-logs", "SIGKILL", "", func(w *world) { w.unrotated() }},
	{"inode used again", "SIGKILL", "", func(w *world) { w.sameInode() }},
	{"permission taken and given back", "none", "", func(w *world) { w.forbidden(nothing) }},
	{"permission taken and given back", "SIGKILL", "", func(w *world) { w.forbidden(func() { w.kill(); w.launch() }) }},
	{"full disk under --state", "SIGKILL when there is room again", "", func(w *world) { w.fullDisk() }},
	{"inotify's queue overflows", "none", "*.log", func(w *world) { w.overflow() }},
	{"no inotify to be had", "SIGKILL", "", func(w *world) { w.deaf("max_inotify_instances", "the logs are polled") }},
	{"no inotify watch to be had", "SIGKILL", "", func(w *world) { w.deaf("max_inotify_watches", "this cannot be used for now") }},
}

// stream writes to a pipe through kills of its reader. Of what stands in the pipe meanwhile the system takes care; of what was
// read, the sidecar. On a slow machine lives may be killed one after the other before they have read; before the pipe is full, one is
// let live until it has: the writer would wait for a reader that it is to start itself.
func (w *world) stream(before, after func()) {
	w.some(10)
	before()
	for range 6 {
		for range 10 {
			w.some(3)
			<-time.After(time.Duration(w.rand.IntN(5000)) * time.Microsecond)
		}
		w.kill()
		w.some(3)
		line := w.error()
		w.put(line[:40])
		w.launch()
		<-time.After(time.Duration(w.rand.IntN(200)) * time.Millisecond)
		w.put(line[40:])
		w.some(5)
		if w.inPipe() > 32<<10 {
			stage.Await(w.t, "the pipe to be read", func() bool { return w.inPipe() == 0 })
		}
	}
	after()
}

// inPipe is how many bytes stand in the pipe that is written to.
func (w *world) inPipe() int {
	n, err := unix.IoctlGetInt(int(w.file.Fd()), unix.TIOCINQ)
	w.must(err)
	return n
}

func (w *world) namedPipe(before, after func()) {
	path := w.at("app.pipe")
	w.must(syscall.Mkfifo(path, 0o644))
	file, err := os.OpenFile(path, os.O_RDWR, 0) // as a supervisor does that keeps the pipe while its reader is away
	w.must(err)
	w.t.Cleanup(func() { file.Close() })
	w.begin(400)
	w.file, w.path = file, path
	w.stream(before, after)
}

func (w *world) standardInput(before, after func()) {
	in, app, err := os.Pipe()
	w.must(err)
	w.t.Cleanup(func() { in.Close(); app.Close() })
	w.adapt = func(cmd *exec.Cmd) { cmd.Stdin = in }
	w.begin(400)
	w.file, w.path = app, "-"
	w.stream(before, after)
}

// wrapped has `sidecar exec` write the log, and rotate it at 8 MiB. The app prints what the row gives it.
func (w *world) wrapped(trouble func()) {
	w.begin(600)
	cmd := exec.Command(stage.Program(w.t), "exec", "--to", w.stage.Logs, "--", "cat")
	in, app, err := os.Pipe()
	w.must(err)
	cmd.Stdin = in
	cmd.Stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	w.must(err)
	child := stage.Start(w.t, "sidecar exec", cmd)
	in.Close()
	w.file, w.path = app, "stdout"
	for range 10 { // 20 MB: the sidecar is never further behind than what exec keeps
		for range 40 {
			w.put(w.error())
			for range 250 {
				w.put(w.info())
			}
		}
		trouble()
		w.up()
		w.arrived()
	}
	w.must(app.Close())
	w.file = nil
	<-child.Ended()
}

// unrotated is a log that only grows. The room of what is decided is given back while it is written.
func (w *world) unrotated() {
	w.flags = []string{"--logs-room", "1MiB", "--free-logs"}
	w.begin(600)
	w.open("app.log")
	for range 5 {
		for range 50 {
			w.put(w.error())
			for range 50 {
				w.put(w.info())
			}
		}
		w.arrived()
		stage.Await(w.t, "the room to be given back", func() bool { return w.room("app.log") < 1<<20+200<<10 })
		w.kill()
		w.some(5)
		w.launch()
	}
}

// warned is a log that only grows, beyond what it may: that is said, and nothing is done about it.
func (w *world) warned() {
	w.flags = []string{"--logs-room", "1MiB"}
	w.begin(300)
	w.open("app.log")
	for range 2 {
		for range 100 {
			w.put(w.error())
			for range 70 {
				w.put(w.info())
			}
		}
		w.arrived()
		w.kill()
		w.some(5)
		w.up()
		stage.Await(w.t, "the warning", func() bool { return strings.Contains(w.sidecar.Output(), "more room than --logs-room allows") })
	}
	if room := w.room("app.log"); room < w.size {
		w.t.Errorf("of %d bytes %d are left", w.size, room)
	}
}

// room is what a file takes on the disk.
func (w *world) room(name string) int64 {
	var s syscall.Stat_t
	w.must(syscall.Stat(w.at("%s", name), &s))
	return s.Blocks * 512
}

// sameInode deletes the log while the sidecar is down, and goes on in a file that the system gave the same number.
func (w *world) sameInode() {
	w.begin(200)
	w.open("app.log")
	for range 3 {
		w.some(20)
		w.arrived()
		w.checkpointed()
		w.kill()
		before := w.inode()
		w.file.Close()
		w.file = nil
		w.must(os.Remove(w.path))
		w.open("app.log")
		for n := 0; w.inode() != before && n < 100; n++ { // others make files here too
			w.must(os.Rename(w.path, w.at("other.%d", n)))
			w.open("app.log")
		}
		w.rotations++
		w.some(20)
		w.launch()
	}
}

// checkpointed waits until the checkpoint has had the time to be written that it may take.
func (w *world) checkpointed() {
	seen := time.Now()
	stage.Await(w.t, "a checkpoint", func() bool {
		i, err := os.Stat(filepath.Join(w.stage.State, "checkpoint"))
		return err == nil && (i.ModTime().After(seen) || time.Since(seen) > 3*time.Second)
	})
}

func (w *world) inode() uint64 {
	i, err := os.Stat(w.path)
	w.must(err)
	return i.Sys().(*syscall.Stat_t).Ino
}

// forbidden takes away the right to read the log, from a sidecar that is not root.
func (w *world) forbidden(trouble func()) {
	const nobody = 65534
	w.must(os.MkdirAll(w.stage.State, 0o755))
	w.must(os.Chown(w.stage.State, nobody, nobody))
	for _, dir := range []string{filepath.Dir(stage.Program(w.t)), filepath.Dir(w.stage.Dir), w.stage.Dir, w.stage.Logs} {
		w.must(os.Chmod(dir, 0o755))
	}
	w.adapt = func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	w.begin(200)
	w.open("app.log")
	for range 3 {
		w.some(15)
		w.must(os.Chmod(w.path, 0))
		trouble()
		w.some(5)
		rename(9)(w)
		w.rotations++
		w.must(os.Chmod(w.path, 0))
		w.some(5)
		<-time.After(1500 * time.Millisecond) // the sidecar tries, and must not give up
		w.must(os.Chmod(w.path, 0o644))
		w.must(os.Chmod(w.at("app.log.1"), 0o644))
		w.some(5)
	}
}

// fullDisk takes the last byte under --state while the log is written and rotated.
func (w *world) fullDisk() {
	w.must(os.MkdirAll(w.stage.State, 0o755))
	if err := syscall.Mount("tmpfs", w.stage.State, "tmpfs", 0, "size=32m"); err != nil {
		w.t.Fatal("this row needs the right to mount (root):", err)
	}
	w.t.Cleanup(func() { syscall.Unmount(w.stage.State, syscall.MNT_DETACH) })
	w.begin(300)
	w.open("app.log")
	w.some(20)
	filler, err := os.Create(filepath.Join(w.stage.State, "filler"))
	w.must(err)
	if _, err := io.Copy(filler, zeros{}); err == nil {
		w.t.Fatal("the disk took everything")
	}
	filler.Close()
	for range 3 {
		w.some(20)
		rename(9)(w)
		w.rotations++
	}
	w.arrived()
	w.must(os.Remove(filler.Name()))
	w.some(5)
	w.arrived()
	w.checkpointed()
	w.kill()
	w.some(5)
	w.launch()
	w.some(5)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// overflow stops the sidecar until the kernel has dropped events, and lets it go on.
func (w *world) overflow() {
	w.begin(200)
	for round := range 2 {
		w.must(w.sidecar.Process.Signal(syscall.SIGSTOP))
		var files []*os.File
		for n := range 2 {
			w.open(fmt.Sprintf("app-%d-%d.log", round, n))
			files = append(files, w.file)
			w.file = nil
		}
		for n := range 20_000 { // two in turn: the same event twice in a row is one
			w.file = files[n%2]
			w.put(w.info())
		}
		for n, file := range files {
			w.file = file
			w.path = file.Name()
			w.some(10 + n)
		}
		w.file = nil
		w.must(w.sidecar.Process.Signal(syscall.SIGCONT))
		w.arrived()
	}
	if out := w.sidecar.Output(); !strings.Contains(out, "file events are missing") {
		w.t.Error("nobody said that events were dropped")
	}
}

// deaf gives the sidecar nothing of what inotify needs, as where a limit is reached or the file system has none.
func (w *world) deaf(limit, says string) {
	w.adapt = func(cmd *exec.Cmd) {
		args := append([]string{"-c", "echo 0 >/proc/sys/user/" + limit + ` && exec "$@"`, "sh"}, cmd.Args...)
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh"}, args...)
		own := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: own, GidMappings: own}
	}
	w.begin(300)
	w.open("app.log")
	for range 3 {
		w.some(20)
		w.kill()
		w.some(10)
		rename(9)(w)
		w.rotations++
		w.up()
		w.some(10)
		rename(9)(w)
		w.rotations++
		w.some(10)
		w.arrived()
	}
	if out := w.sidecar.Output(); !strings.Contains(out, says) {
		w.t.Errorf("nobody said that the files are polled:\n%s", out)
	}
}
