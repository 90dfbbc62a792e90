// Package tomcat starts Debian's Tomcat 10 with a small web app that fails on request.
package tomcat

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// home is where Debian's package tomcat10 puts the program and its untouched configuration.
const home = "/usr/share/tomcat10"

//go:embed webapp
var webapp embed.FS

// Start starts Tomcat with this package's web app.
func Start(t testing.TB, dir, address string) *stage.Process {
	t.Helper()
	pages, err := fs.Sub(webapp, "webapp")
	if err != nil {
		t.Fatal(err)
	}
	return StartApp(t, dir, address, pages, "/orders/1", "/checkout", "/cart/1") // each servlet compiles its page at first use
}

// StartApp starts Tomcat with dir as its CATALINA_BASE and waits until a web app of these pages answers at address, under
// each of the paths. The configuration is Debian's but for the port; dir/logs gets the log files, catalina.out among them,
// which is what Tomcat prints.
func StartApp(t testing.TB, dir, address string, pages fs.FS, paths ...string) *stage.Process {
	t.Helper()
	if err := lay(dir, address, pages); err != nil {
		t.Fatalf("lay out Tomcat's directory: %v (e2e/setup installs Tomcat)", err)
	}
	out, err := os.Create(filepath.Join(dir, "logs", "catalina.out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(home+"/bin/catalina.sh", "run")
	cmd.Env = append(os.Environ(), "CATALINA_HOME="+home, "CATALINA_BASE="+dir, "CATALINA_TMPDIR="+dir+"/temp",
		"JAVA_OPTS=-Djava.awt.headless=true -Xmx256m")
	cmd.Stdout, cmd.Stderr = out, out
	t.Cleanup(func() {
		if content, _ := os.ReadFile(out.Name()); t.Failed() {
			t.Logf("Tomcat printed:\n%s", content[max(0, len(content)-4<<10):])
		}
	})
	process := stage.Start(t, "Tomcat", cmd)
	for _, path := range paths {
		stage.Await(t, "Tomcat to answer", func() bool { return answers("http://" + address + path) })
	}
	return process
}

func answers(url string) bool {
	answer, err := http.Get(url)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// lay makes a CATALINA_BASE: Debian's configuration with our port, and the web app.
func lay(dir, address string, pages fs.FS) error {
	for _, name := range []string{"logs", "temp", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "conf"), os.DirFS(home+"/etc")); err != nil {
		return err
	}
	if err := setPort(filepath.Join(dir, "conf", "server.xml"), address); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(dir, "webapps", "ROOT"), pages)
}

func setPort(file, address string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	was := []byte(`<Connector port="8080"`)
	if !bytes.Contains(content, was) {
		return fmt.Errorf("%s has no %s", file, was)
	}
	return os.WriteFile(file, bytes.Replace(content, was, fmt.Appendf(nil, `<Connector address="%s" port="%s"`, host, port), 1), 0o644)
}
