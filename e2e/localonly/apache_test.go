//go:build e2e

// Package localonly stands in front of real servers with the pages that they show to their own machine alone.
package localonly

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// configuration has Debian's own settings for the status page, in which it is shown to localhost alone.
const configuration = `
ServerRoot /etc/apache2
ServerName localhost
Listen %[1]s
PidFile %[2]s/pid
Mutex file:%[2]s
ErrorLog %[2]s/error.log
DocumentRoot %[2]s
Include mods-available/mpm_event.load
Include mods-available/authz_core.load
Include mods-available/authz_host.load
Include mods-available/status.load
Include mods-available/status.conf
Include mods-available/info.load
Include mods-available/info.conf
`

// TestApacheStatusStaysLocal: behind the sidecar every client comes from 127.0.0.1.
func TestApacheStatusStaysLocal(t *testing.T) {
	apache := stage.Need(t, "apache2", "apt-get install apache2, or run e2e/setup")
	dir, addr := t.TempDir(), stage.Address(t)
	path := filepath.Join(dir, "apache.conf")
	if err := os.WriteFile(path, fmt.Appendf(nil, configuration, addr, dir), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("shop"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	stage.Start(t, "apache", exec.Command(apache, "-X", "-f", path))
	stage.Await(t, "Apache", func() bool { return status("http://"+addr+"/index.html") != 0 })

	guarded := stage.New(t, "http://"+addr)
	guarded.Run()
	open := stage.New(t, "http://"+addr)
	open.Run("--local-only", "")
	for _, path := range []string{"/server-status", "/server-status?auto", "/server-info", "//server-status", "/%73erver-status", "/x/../server-status"} {
		if got := status("http://" + guarded.Front + path); got == http.StatusOK {
			t.Errorf("%s is open to the world", path)
		}
	}
	if got := status("http://" + open.Front + "/server-status"); got != http.StatusOK {
		t.Errorf("/server-status is %d where it is allowed: without the sidecar's list it would be shown, or this test shows nothing", got)
	}
	if got := status("http://" + guarded.Front + "/index.html"); got != http.StatusOK {
		t.Errorf("/index.html: %d", got)
	}
}

// status is that of the answer, 0 where there is none.
func status(url string) int {
	answer, err := http.Get(url)
	if err != nil {
		return 0
	}
	answer.Body.Close()
	return answer.StatusCode
}
