package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a server that is measured, with its children.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string // what it printed
	addr string
}

// pinned makes a command run on one CPU, where there is more than one: the servers that are compared on the first, all else
// on the second.
func pinned(cpu int, cmd *exec.Cmd) *exec.Cmd {
	taskset, err := exec.LookPath("taskset")
	if err != nil || !severalCPUs() {
		return cmd
	}
	cmd.Args = append([]string{"taskset", "-c", strconv.Itoa(cpu), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = taskset
	return cmd
}

// start starts a server and waits until it takes connections on addr.
func (b *bench) start(name, addr string, cmd *exec.Cmd) (*process, error) {
	log, err := os.CreateTemp(b.dir, "*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	p, err := b.launch(name, cmd)
	if err != nil {
		return nil, err
	}
	p.log, p.addr = log.Name(), addr
	err = await(name, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if err != nil {
		printed, _ := os.ReadFile(p.log)
		return nil, fmt.Errorf("%w\n%s", err, printed)
	}
	return p, nil
}

// launch starts a program in a process group of its own.
func (b *bench) launch(name string, cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd}
	b.up = append(b.up, p)
	return p, nil
}

// end asks a server to end, so that it waits for its children, and kills what is still there after two seconds.
func (b *bench) end(p *process) {
	b.up = slices.DeleteFunc(b.up, func(q *process) bool { return p == q })
	group := -p.cmd.Process.Pid
	syscall.Kill(group, syscall.SIGTERM)
	late := time.AfterFunc(2*time.Second, func() { syscall.Kill(group, syscall.SIGKILL) })
	p.cmd.Wait()
	late.Stop()
}

func (b *bench) endAll() {
	for len(b.up) > 0 {
		b.end(b.up[0])
	}
}

// await asks until done says yes, for a minute.
func await(what string, done func() bool) error {
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if done() {
			return nil
		}
	}
	return fmt.Errorf("%s: waited in vain", what)
}

// address is one on loopback that nobody listens on.
func address() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// addresses gives n different ones.
func addresses(n int) (all []string, err error) {
	for range n {
		a, err := address()
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// pids are the process and its children: nginx works in a child.
func (p *process) pids() []int {
	pids := []int{p.cmd.Process.Pid}
	for i := 0; i < len(pids); i++ {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pids[i], pids[i]))
		for _, child := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(child)
			pids = append(pids, pid)
		}
	}
	return pids
}

// cpu is the time that the process ran so far, in user and system mode, from the scheduler's own books: they count
// nanoseconds, where /proc/PID/stat counts ticks of 10 ms.
func (p *process) cpu() (sum time.Duration) {
	for _, pid := range p.pids() {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, path := range threads {
			text, _ := os.ReadFile(path)
			ran, _, _ := strings.Cut(string(text), " ")
			ns, _ := strconv.ParseInt(ran, 10, 64)
			sum += time.Duration(ns)
		}
	}
	return sum
}

// wakeUps is how often its threads gave up the CPU to wait for something.
func (p *process) wakeUps() (sum int64) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.cmd.Process.Pid))
	for _, path := range threads {
		sum += field(path, "voluntary_ctxt_switches:")
	}
	return sum
}

// rss and peak are in bytes.
func (p *process) rss() int64  { return p.memory("VmRSS:") }
func (p *process) peak() int64 { return p.memory("VmHWM:") }

func (p *process) memory(name string) (sum int64) {
	for _, pid := range p.pids() {
		sum += field(fmt.Sprintf("/proc/%d/status", pid), name) << 10
	}
	return sum
}

// field is a number of a /proc file of the form "name: value unit".
func field(path, name string) int64 {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return n
		}
	}
	return 0
}

// self is this program in another role.
func self(role, listen, to string) *exec.Cmd {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return exec.Command(path, "-role", role, "-listen", listen, to)
}

// runSidecar starts the sidecar in front of an app, on its CPU, with the flags after its own.
func (b *bench) runSidecar(app string, flags ...string) (*process, error) {
	at, err := addresses(3)
	if err != nil {
		return nil, err
	}
	state, err := os.MkdirTemp(b.dir, "state-")
	if err != nil {
		return nil, err
	}
	args := append([]string{"run", "--listen", at[0], "--health", at[1], "--admin", at[2], "--app", "http://" + app,
		"--state", state, "--project", "bench"}, flags...)
	cmd := pinned(0, exec.Command(b.sidecar, args...))
	p, err := b.start("sidecar", at[0], cmd)
	if err != nil {
		return nil, err
	}
	return p, await("the sidecar's readiness", func() bool {
		answer, err := http.Get("http://" + at[1] + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// tool finds a program that is compared.
func tool(name, pkg string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", errors.Join(fmt.Errorf("%s is part of the comparison: apt-get install %s", name, pkg), err)
	}
	return path, nil
}
