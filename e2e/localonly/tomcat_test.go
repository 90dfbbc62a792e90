//go:build e2e

package localonly

import (
	"bytes"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/openreplay/log-sidecar/e2e/stage"
	"github.com/openreplay/log-sidecar/e2e/tomcat"
)

// managers is where Debian's package tomcat10-admin puts Tomcat's own two web apps, with the valves that show them to
// localhost alone.
const managers = "/usr/share/tomcat10-admin"

// TestTomcatManagersStayLocal: past the valve Tomcat asks for a password, which the world could then try.
func TestTomcatManagersStayLocal(t *testing.T) {
	dir, addr := t.TempDir(), stage.Address(t)
	deploy(t, dir, "manager")
	deploy(t, dir, "host-manager")
	tomcat.Start(t, dir, addr)

	guarded := stage.New(t, "http://"+addr)
	guarded.Run()
	open := stage.New(t, "http://"+addr)
	open.Run("--local-only", "")
	for _, path := range []string{"/manager/html", "/manager/text/list", "/manager/status", "/manager/jmxproxy", "/host-manager/html", "/host-manager/text/list"} {
		if got := status("http://" + open.Front + path); got != http.StatusUnauthorized {
			t.Errorf("%s is %d where it is allowed: without the sidecar's list its login would be shown, or this test shows nothing", path, got)
		}
		for _, written := range []string{path, "/x/.." + path, "/" + path, "/%" + hex.EncodeToString([]byte(path[1:2])) + path[2:], "/;a=b" + path} {
			if got := status("http://" + guarded.Front + written); got != http.StatusForbidden {
				t.Errorf("%s is open to the world: %d", written, got)
			}
		}
	}
	if got := status("http://" + guarded.Front + "/cart/1"); got != http.StatusOK {
		t.Errorf("/cart/1: %d", got)
	}
}

// deploy puts one in as Tomcat's own distribution has it. Debian deploys it by a file of its own, in which the valve is missing.
func deploy(t *testing.T, dir, name string) {
	t.Helper()
	from, to := filepath.Join(managers, name), filepath.Join(dir, "webapps", name)
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatalf("%v: apt-get install tomcat10-admin, or run e2e/setup", err)
	}
	valves, err := os.ReadFile(filepath.Join(to, "META-INF", "context.xml"))
	if err != nil || !bytes.Contains(valves, []byte("127.0.0.0/8")) && !bytes.Contains(valves, []byte(`127\.\d+\.\d+\.\d+`)) {
		t.Fatalf("%s is not for localhost alone: %v\n%s", name, err, valves)
	}
}
