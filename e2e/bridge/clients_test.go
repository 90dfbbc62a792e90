//go:build e2e

package bridge_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openreplay/log-sidecar/session"
)

// tool finds a program that the test cannot do without.
func tool(t *testing.T, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed, and this test needs it: %s", name, install)
	}
	return path
}

// output runs a command and gives what it wrote to standard output.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// bridgeWithOneError gives a bridge to a session of one error.
func bridgeWithOneError(t *testing.T) (url string, id session.ID) {
	t.Helper()
	_, cloud := startCloud(t)
	url, _ = startBridge(t, cloud)
	start := time.Now().Add(-time.Hour)
	id = newSession(start, 1)
	write(t, cloud, entry(id, "one", start))
	return url, id
}

func TestElasticsJavaScriptClient(t *testing.T) {
	const install = "install Node.js 20 or later with npm, https://nodejs.org"
	node, npm := tool(t, "node", install), tool(t, "npm", install)
	dir := t.TempDir() // so that the tree stays clean
	if err := os.CopyFS(dir, os.DirFS("node")); err != nil {
		t.Fatal(err)
	}
	in := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		return cmd
	}
	output(t, in(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"))
	url, id := bridgeWithOneError(t)
	var got map[string]any
	if err := json.Unmarshal([]byte(output(t, in(node, "client.mjs", url, keyID+":"+secret, id.String()))), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"version": "9.0.0", "ping": true, "total": 1., "ids": []any{"one"}, "level": []any{"error"},
		"withoutKey": "401 security_exception", "otherCall": "501 unsupported_operation_exception", "otherQuery": "400 illegal_argument_exception",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The line that docs/OPENREPLAY.md gives to try the bridge by hand.
func TestCurl(t *testing.T) {
	curl := tool(t, "curl", "install curl, https://curl.se")
	url, id := bridgeWithOneError(t)
	out := output(t, exec.CommandContext(t.Context(), curl, "-sS", "-H", "Authorization: ApiKey "+apiKey(),
		"-H", "Content-Type: application/json", url+"/logs/_search?pretty",
		"-d", `{"query":{"match_phrase":{"message":"openReplaySession.id=`+id.String()+`"}}}`))
	if !strings.Contains(out, "\n        \"_id\": \"one\",\n") || !strings.Contains(out, `java.lang.IllegalStateException: no stock\n\tat shop.Cart.add`) {
		t.Errorf("curl shows %s", out)
	}
}
