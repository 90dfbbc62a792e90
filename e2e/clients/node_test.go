//go:build e2e

package clients

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNodesClientWritesReadsAndTails(t *testing.T) {
	const install = "install Node.js 20 or later with npm, https://nodejs.org"
	node, npm := tool(t, "node", install), tool(t, "npm", install)
	dir := t.TempDir() // so that the tree stays clean
	if err := os.CopyFS(dir, os.DirFS("node")); err != nil {
		t.Fatal(err)
	}
	in := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "METADATA_SERVER_DETECTION=none") // no cloud to look for
		return cmd
	}
	run(t, in(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"))

	_, addr := start(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	var saw struct {
		Read            []string
		Refused, Tailed string
		Left            int
	}
	out := run(t, in(node, "client.mjs", port, project))
	if err := json.Unmarshal([]byte(out), &saw); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if diff := cmp.Diff([]string{"error 0", "error 1", "error 2"}, saw.Read); diff != "" {
		t.Errorf("read: %s", diff)
	}
	// The client adds a condition on the timestamp to every filter.
	if want := "3 INVALID_ARGUMENT: Unparseable filter: syntax error at line 1, column 12, token 'AND'"; saw.Refused != want {
		t.Errorf("refused with %q", saw.Refused)
	}
	if saw.Tailed != "probe N" {
		t.Errorf("tailed %q", saw.Tailed)
	}
	if saw.Left != 0 {
		t.Errorf("%d entries are left of a deleted log", saw.Left)
	}
}
