package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the program as people do; each file under testdata is one story.
func TestScripts(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "sidecar"), ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir:  "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"listens": listens},
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			for i := range 5 { // addresses that nobody listens on
				listener, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
				if err != nil {
					return err
				}
				defer listener.Close()
				env.Setenv(fmt.Sprintf("ADDR%d", i+1), listener.Addr().String())
			}
			taken, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
			if err != nil {
				return err
			}
			env.Defer(func() { taken.Close() })
			env.Setenv("TAKEN", taken.Addr().String())
			return nil
		},
	})
}

// listens waits until somebody accepts connections at an address.
func listens(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.After(20 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); ; {
		if conn, err := net.Dial("tcp", args[0]); err == nil {
			conn.Close()
			return
		}
		select {
		case <-tick:
		case <-deadline:
			ts.Fatalf("nobody listens on %s", args[0])
		}
	}
}
