// Package demo shows the whole loop on one machine: a legacy app, the sidecar in front of it, and a few users.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/openreplay/log-sidecar/internal/localcloud"
)

const project = "demo-project"

// Config is what the demo has of the world.
type Config struct {
	Program  string // the sidecar's own file, which is started anew for each part
	Out      io.Writer
	Terminal bool // Out is one: show progress
	Exit     bool // end when all is shown
	Gcloud   func(addr, project, filter string) string
}

// A show is one demo.
type show struct {
	Config
	dir                                 string
	appAddr, sidecarAddr, health, admin string
	cloudAddr                           string
	cloud                               *localcloud.Server
	children                            []*exec.Cmd
}

// ErrWrong says that what arrived is not what had to arrive; the differences have been printed.
var ErrWrong = errors.New("what arrived is not what had to arrive")

// Run starts all parts, lets the users work, and shows what arrived.
func Run(ctx context.Context, c Config) (err error) {
	s := &show{Config: c}
	if s.dir, err = os.MkdirTemp("", "openreplay-sidecar-demo-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	defer s.stop()
	if err := s.start(ctx); err != nil {
		return err
	}
	s.printStage()
	users := newUsers()
	steps := plan(users)
	if err := drive(ctx, "http://"+s.sidecarAddr, users, steps); err != nil {
		return err
	}
	s.await(ctx, steps)
	if s.Exit {
		s.stopSidecar() // what it still holds arrives now
	}
	verdict, err := s.judge(steps)
	if err != nil {
		return err
	}
	s.printErrors(steps, verdict)
	s.printVerdict(steps, verdict)
	if !s.Exit {
		s.printAddresses()
		<-ctx.Done()
	}
	if !verdict.good() {
		return ErrWrong
	}
	return nil
}

func (s *show) start(ctx context.Context) (err error) {
	s.progress("starting the Cloud Logging stand-in")
	if s.cloud, err = localcloud.New(localcloud.Config{MaxBytes: 64 << 20}); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.cloudAddr = listener.Addr().String()
	go s.cloud.Serve(listener)
	addrs, err := freeAddresses(4)
	if err != nil {
		return err
	}
	s.appAddr, s.sidecarAddr, s.health, s.admin = addrs[0], addrs[1], addrs[2], addrs[3]
	s.progress("starting the legacy app")
	log := filepath.Join(s.dir, "shop.log")
	if err := s.child("app", "demo-app", s.appAddr, log); err != nil {
		return err
	}
	if err := await(ctx, "http://"+s.appAddr+"/"); err != nil {
		return fmt.Errorf("the legacy app does not answer: %w", err)
	}
	s.progress("starting the sidecar")
	err = s.child("sidecar", "run", "--listen", s.sidecarAddr, "--app", "http://"+s.appAddr, "--logs", filepath.Join(s.dir, "*.log"),
		"--state", filepath.Join(s.dir, "state"), "--health", s.health, "--admin", s.admin,
		"--project", project, "--endpoint", s.cloudAddr, "--plaintext", "--pace", "0")
	if err != nil {
		return err
	}
	if err := await(ctx, "http://"+s.health+"/readyz"); err != nil {
		out, _ := os.ReadFile(filepath.Join(s.dir, "sidecar.out"))
		return fmt.Errorf("the sidecar does not answer: %w\n%s", err, out)
	}
	return nil
}

// child starts this program again as another process.
func (s *show) child(name string, args ...string) error {
	out, err := os.Create(filepath.Join(s.dir, name+".out"))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(s.Program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return err
	}
	s.children = append(s.children, cmd)
	return nil
}

// freeAddresses finds loopback ports that nobody uses, below those that the kernel gives to the ends of connections.
func freeAddresses(n int) (addrs []string, err error) {
	for try := 0; len(addrs) < n && try < 1000; try++ {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err != nil {
			continue
		}
		defer listener.Close()
		addrs = append(addrs, listener.Addr().String())
	}
	if len(addrs) < n {
		return nil, errors.New("no free ports on 127.0.0.1")
	}
	return addrs, nil
}

// await asks until there is an answer.
func await(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode < 500 {
				return nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// await waits until every expected entry has arrived, or long enough to say that one has not.
func (s *show) await(ctx context.Context, steps []*step) {
	want := 0
	for _, st := range steps {
		if st.expected() {
			want++
		}
	}
	deadline := time.Now().Add(15 * time.Second)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		got, err := s.cloud.Entries("")
		s.progress(fmt.Sprintf("%d of %d errors have arrived", len(got), want))
		if err != nil || len(got) >= want {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	select {
	case <-time.After(500 * time.Millisecond): // what must not arrive would be here by now
	case <-ctx.Done():
	}
}

func (s *show) stopSidecar() {
	if len(s.children) == 2 {
		end(s.children[1])
		s.children = s.children[:1]
	}
}

func (s *show) stop() {
	for i := len(s.children) - 1; i >= 0; i-- {
		end(s.children[i])
	}
	if s.cloud != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.cloud.Shutdown(ctx)
	}
}

func end(cmd *exec.Cmd) {
	cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(25*time.Second, func() { cmd.Process.Kill() })
	defer late.Stop()
	cmd.Wait()
}
