// Package wrap runs an app as its child, and keeps a bounded copy of what it prints.
package wrap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
)

// Config says what to run, and where its copies go.
type Config struct {
	Command        []string
	Dir            string // gets stdout.log and stderr.log
	Stdin          *os.File
	Stdout, Stderr *os.File
}

// Run runs the command until it ends and gives the code to exit with: the command's own, or 128 and the signal that ended
// it, as shells have it. Every signal is passed on. The app is held back by whoever reads its output, as it was before, and
// never by the copies: what cannot be copied is left out and counted in the copy itself.
func Run(c Config) (code int, err error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		fmt.Fprintf(c.Stderr, "sidecar exec: no copies of the output are kept: %v\n", err)
	}
	cmd := exec.Command(c.Command[0], c.Command[1:]...)
	cmd.Stdin = c.Stdin
	var pumps sync.WaitGroup
	ends, err := c.connect(cmd, &pumps)
	if err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return exitOf(err), fmt.Errorf("start the app: %w", err)
	}
	for _, end := range ends {
		end.Close() // the child has its own; ours would keep the pipe open after its end
	}
	code = wait(cmd, signals)
	pumps.Wait()
	return code, nil
}

// connect gives the command pipes to print into, and starts what reads them.
func (c Config) connect(cmd *exec.Cmd, pumps *sync.WaitGroup) (ends []*os.File, err error) {
	for _, stream := range []struct {
		out  *os.File
		name string
	}{{c.Stdout, "stdout.log"}, {c.Stderr, "stderr.log"}} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		ends = append(ends, w)
		keep := &copyFile{path: filepath.Join(c.Dir, stream.name)}
		pumps.Go(func() {
			defer r.Close()
			pump(stream.out, keep, r)
		})
	}
	cmd.Stdout, cmd.Stderr = ends[0], ends[1]
	return ends, nil
}

// pump passes on what the app prints, and then keeps its copy. A reader that went away does not end the app's output: it
// would get a SIGPIPE that it never got before.
func pump(out io.Writer, keep *copyFile, r io.Reader) {
	defer keep.close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		if n > 0 {
			out.Write(buffer[:n])
			keep.write(buffer[:n])
		}
		if err != nil {
			return
		}
	}
}

// wait passes signals on until the child has ended. As PID 1 it also buries the orphans that the kernel hands to it.
func wait(cmd *exec.Cmd, signals chan os.Signal) int {
	child := cmd.Process.Pid
	for s := range signals {
		if s != syscall.SIGCHLD && s != syscall.SIGURG { // SIGURG is the Go runtime's own
			cmd.Process.Signal(s)
		}
		for { // after any signal: a SIGCHLD that found the channel full stands behind another one
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if pid <= 0 {
				break
			}
			if pid == child && (status.Exited() || status.Signaled()) {
				return codeOf(status)
			}
		}
	}
	return 0
}

func codeOf(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// exitOf gives the codes that shells have for a command that cannot be started.
func exitOf(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return 127
	}
	return 126
}
