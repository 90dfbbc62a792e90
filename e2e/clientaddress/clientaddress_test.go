//go:build e2e

// Package clientaddress lets a real app see its clients' addresses through the sidecar. Clients and pod are network
// namespaces of the test's own; it needs root.
package clientaddress

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// nginx says whom it sees; the second port speaks HTTP/2.
const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 127.0.0.1:8081;
		listen [::1]:8081;
		listen 127.0.0.1:8082 http2;
		location / { return 200 "$remote_addr $request_method $server_protocol"; }
	}
}
`

// Every sidecar listens here in its turn, in the pod's network.
const sidecarConfig = `
ports:
- {listen: ":8080", app: "http://localhost:8081"}
- {listen: ":8090", app: "http://127.0.0.1:8082"}
sink: none
health: 127.0.0.1:9094
`

// A network is one client machine with two addresses, and the pod with the app.
type network struct{ client, pod string }

func newNetwork(t *testing.T) network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	n := network{fmt.Sprintf("sidecar-client-%d", os.Getpid()), fmt.Sprintf("sidecar-pod-%d", os.Getpid())}
	for _, name := range []string{n.client, n.pod} {
		ip(t, "netns", "add", name)
		t.Cleanup(func() { ip(t, "netns", "del", name) })
		ip(t, "-n", name, "link", "set", "lo", "up")
	}
	ip(t, "link", "add", "eth0", "netns", n.client, "type", "veth", "peer", "name", "eth0", "netns", n.pod)
	n.address(t, n.client, "10.99.0.1/24", "10.99.0.3/24", "fd99::1/64")
	n.address(t, n.pod, "10.99.0.2/24", "fd99::2/64")
	return n
}

func (n network) address(t *testing.T, name string, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		args := []string{"-n", name, "address", "add", address, "dev", "eth0"}
		if strings.Contains(address, ":") {
			args = append(args, "nodad")
		}
		ip(t, args...)
	}
	ip(t, "-n", name, "link", "set", "eth0", "up")
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(stage.Need(t, "ip", "apt-get install iproute2, or run e2e/setup"), args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func inside(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", name}, args...)...)
}

// visit is what the app says of the client that curl is.
func (n network) visit(t *testing.T, args ...string) string {
	t.Helper()
	out, err := inside(n.client, append([]string{"curl", "--silent", "--show-error", "--max-time", "20"}, args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("curl %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// route runs the rules as the manual has them.
func (n network) route(t *testing.T) {
	t.Helper()
	manual, err := os.ReadFile("../../docs/CLIENT-ADDRESS.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile("(?s)```sh\n(.*?)```").FindSubmatch(manual)
	if rules == nil {
		t.Fatal("docs/CLIENT-ADDRESS.md has no rules")
	}
	if out, err := inside(n.pod, "sh", "-ec", string(rules[1])).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", rules[1], err, out)
	}
}

// A pod is the app, and the files of the sidecars that stand in front of it.
type pod struct {
	network
	dir, program, hosts, config string
}

func newPod(t *testing.T, n network) *pod {
	t.Helper()
	p := &pod{network: n, dir: t.TempDir(), program: stage.Program(t)}
	p.hosts = p.file(t, "hosts", "127.0.0.1 localhost\n::1 localhost\n")
	p.config = p.file(t, "sidecar.yaml", sidecarConfig)
	for _, dir := range []string{p.dir, filepath.Dir(p.dir), filepath.Dir(p.program)} {
		if err := os.Chmod(dir, 0o755); err != nil { // one sidecar is not root
			t.Fatal(err)
		}
	}
	nginx := stage.Need(t, "nginx", "apt-get install nginx-light, or run e2e/setup")
	stage.Start(t, "nginx", inside(n.pod, nginx, "-c", p.file(t, "nginx.conf", fmt.Sprintf(nginxConfig, p.dir))))
	stage.Await(t, "nginx", func() bool { return p.asks("http://127.0.0.1:8081/") != "" })
	return p
}

func (p *pod) file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// asks is what a client in the pod gets, "" where that is an error.
func (p *pod) asks(url string) string {
	out, err := inside(p.network.pod, "curl", "--silent", "--fail", "--max-time", "5", url).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// sidecar starts one, by way of a command that takes or gives rights.
func (p *pod) sidecar(t *testing.T, rights []string, flags ...string) *stage.Process {
	t.Helper()
	args := append([]string{"sh", "-ec", `mount --bind "$0" /etc/hosts; exec "$@"`, p.hosts}, rights...)
	args = append(args, p.program, "run", "--config", p.config, "--state", t.TempDir())
	process := stage.Start(t, "sidecar", inside(p.network.pod, append(args, flags...)...))
	stage.Await(t, "the sidecar to be ready", func() bool { return p.asks("http://127.0.0.1:9094/readyz") != "" })
	return process
}

// lost is how many connections were counted under the reason.
func (p *pod) lost(reason string) int {
	count := regexp.MustCompile(`client_address_lost_total\{.*reason="` + reason + `"\} (\d+)`)
	sum := 0
	for _, line := range count.FindAllStringSubmatch(p.asks("http://127.0.0.1:9094/metrics"), -1) {
		n, _ := strconv.Atoi(line[1])
		sum += n
	}
	return sum
}

// visits come from both addresses of the client, over both families and both versions of HTTP.
var visits = []struct {
	name, from, rest string
	args             []string
}{
	{"IPv4", "10.99.0.1", "GET HTTP/1.1", []string{"http://10.99.0.2:8080/"}},
	{"another address", "10.99.0.3", "GET HTTP/1.1", []string{"--interface", "10.99.0.3", "http://10.99.0.2:8080/"}},
	{"the first one again", "10.99.0.1", "GET HTTP/1.1", []string{"http://10.99.0.2:8080/"}},
	{"an upload", "10.99.0.1", "POST HTTP/1.1", []string{"--data", "a=1", "http://10.99.0.2:8080/"}},
	{"IPv6", "fd99::1", "GET HTTP/1.1", []string{"http://[fd99::2]:8080/"}},
	{"HTTP/2", "10.99.0.1", "GET HTTP/2.0", []string{"--http2-prior-knowledge", "http://10.99.0.2:8090/"}},
	{"HTTP/2 from another address", "10.99.0.3", "GET HTTP/2.0", []string{"--interface", "10.99.0.3", "--http2-prior-knowledge", "http://10.99.0.2:8090/"}},
}

func (p *pod) seesItsClients(t *testing.T) {
	t.Helper()
	for _, v := range visits {
		if got := p.visit(t, v.args...); got != v.from+" "+v.rest {
			t.Errorf("%s from %s: the app saw %q", v.name, v.from, got)
		}
	}
	p.seesItself(t, p.asks("http://127.0.0.1:8080/"), "GET HTTP/1.1")
}

// seesNoClient: every request is answered, by an app that thinks itself alone on its machine.
func (p *pod) seesNoClient(t *testing.T) {
	t.Helper()
	for _, v := range visits {
		p.seesItself(t, p.visit(t, v.args...), v.rest)
	}
}

func (p *pod) seesItself(t *testing.T, got, want string) {
	t.Helper()
	address, rest, _ := strings.Cut(got, " ")
	if ip, err := netip.ParseAddr(address); err != nil || !ip.IsLoopback() || rest != want {
		t.Errorf("the app saw %q", got)
	}
}

func TestTheAppSeesItsClients(t *testing.T) {
	p := newPod(t, newNetwork(t))
	without := []string{"setpriv", "--bounding-set=-net_admin,-net_raw"}
	onlyRaw := []string{"setpriv", "--bounding-set=-all,+net_raw"}
	notRoot := []string{"setpriv", "--reuid=65532", "--regid=65532", "--clear-groups", "--inh-caps=-all,+net_raw", "--ambient-caps=+net_raw",
		"--bounding-set=-all,+net_raw"}

	t.Run("not where it was not asked for", func(t *testing.T) {
		p.sidecar(t, nil)
		p.seesNoClient(t)
	})
	t.Run("not without routes", func(t *testing.T) {
		p.sidecar(t, nil, "--keep-client-address")
		p.seesNoClient(t)
		if p.lost("no_route") == 0 {
			t.Error("nothing was counted")
		}
	})
	p.route(t)
	t.Run("not without the right", func(t *testing.T) {
		sidecar := p.sidecar(t, without, "--keep-client-address")
		p.seesNoClient(t)
		if n := strings.Count(sidecar.Output(), "NET_RAW"); n != 2 || p.lost("not_permitted") != 3 || p.lost("resting") == 0 {
			t.Errorf("said %d times, once for each port was wanted; counted %d times, where it was once for each port and family", n, p.lost("not_permitted"))
		}
	})
	for name, rights := range map[string][]string{"as root": nil, "with NET_RAW alone": onlyRaw, "as another user": notRoot} {
		t.Run(name, func(t *testing.T) {
			p.sidecar(t, rights, "--keep-client-address")
			p.seesItsClients(t)
			if got := p.visit(t, "http://10.99.0.2:8080/server-status"); got != "Forbidden\n" {
				t.Errorf("/server-status: %q", got)
			}
		})
	}
}
