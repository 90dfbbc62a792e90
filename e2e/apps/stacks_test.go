//go:build e2e

package apps

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/openreplay/log-sidecar/e2e/stage"
	"github.com/openreplay/log-sidecar/e2e/tomcat"
)

// A stack is one way in which apps are run, with the logging that it has when nobody changes it.
type stack struct {
	name  string
	start func(*site)
	// head is what the first line of a record begins with. It is how the truth is cut, and known from the stack's manual.
	head *regexp.Regexp
	// fails has the kinds of failing that the app knows; late ones log after the answer.
	fails string
	// tied has those whose records a request ID, a port or a response header ties to the request.
	tied string
	// bare has those whose records nothing marks as errors: to leave them is as right as to send them.
	bare string
	// owner gives, of a record without a word, what it shares with the record of its request that has one.
	owner *regexp.Regexp
	// prefix stands before each path.
	prefix string
	// option is what the sidecar is told beyond its defaults; such a stack is not part of the sum.
	option string
}

var stacks = []stack{
	{
		name: "Tomcat 10, java.util.logging", start: startTomcat,
		head:  regexp.MustCompile(`^\d\d-\w{3}-\d{4} \d\d:\d\d:\d\d\.\d{3} \w+ \[`),
		fails: "boom nested type sql handled brief late",
	},
	{
		name: "Java, Logback", start: func(s *site) { s.java("logback-core", "logback-classic", "slf4j-api", "log4j-to-slf4j") },
		head:  regexp.MustCompile(`^\d{4}-\d\d-\d\dT`),
		fails: "boom nested type sql handled brief late",
	},
	{
		name: "Java, Log4j 2", start: func(s *site) { s.java("log4j-core") },
		head:  regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3} \[`),
		fails: "boom nested type sql handled brief late",
	},
	{
		name: "PHP under Apache", start: startPHP,
		head:  regexp.MustCompile(`^\[`),
		fails: "boom nested type sql handled", tied: "boom nested type sql", bare: "handled",
	},
	{
		name: "MediaWiki under Apache", start: startMediaWiki, prefix: "/index.php",
		head:  regexp.MustCompile(`^(\[|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d )`),
		fails: "boom nested type sql handled late", tied: "boom nested type sql handled late",
	},
	{
		name: "Apache alone, CGI", start: startCGI,
		head:  regexp.MustCompile(`^\[`),
		fails: "boom nested type handled brief", tied: "boom nested type handled brief",
		owner: regexp.MustCompile(`\[client ([0-9.:]+)\]`),
	},
	{
		name: "nginx alone", start: startNginx,
		head:  regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[`),
		fails: "boom nested type sql handled brief",
	},
	{
		name: "nginx alone, `--connection-address`", start: startNginx, option: "--connection-address",
		head:  regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[`),
		fails: "boom nested type sql handled brief", tied: "boom nested type sql handled brief",
	},
	{
		name: "Django, gunicorn", start: startDjango,
		head:  regexp.MustCompile(`^([A-Z]+ \d{4}-\d\d-\d\d |\[\d{4}-)`),
		fails: "boom nested type sql handled brief late",
	},
	{
		name: "Flask, gunicorn", start: startFlask,
		head:  regexp.MustCompile(`^\[\d{4}-`),
		fails: "boom nested type sql handled brief late",
	},
	{
		name: "Rails, Puma", start: startRails,
		head:  regexp.MustCompile(`^[DIWEFA], \[`),
		fails: "boom nested type sql handled brief", tied: "boom nested type sql handled brief",
	},
	{
		name: "Sinatra, Puma", start: startSinatra,
		head:  regexp.MustCompile(`^([DIWEFA], \[|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d - |[0-9.]+ - - \[)`),
		fails: "boom nested type sql handled brief", tied: "type",
	},
	{
		name: "Express, morgan", start: func(s *site) { s.node("express") },
		head:  regexp.MustCompile(`^([A-Za-z]*Error: |Invoice |Cart |Voucher |[0-9.]+ - - \[)`),
		fails: "boom nested type sql handled brief late", bare: "brief",
	},
	{
		name: "Fastify, pino", start: func(s *site) { s.node("fastify") },
		head:  regexp.MustCompile(`^\{`),
		fails: "boom nested type sql handled brief late", tied: "boom nested type sql handled brief late",
	},
	{
		name: "Go, net/http", start: startGo,
		head:  regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d `),
		fails: "boom nested type sql handled brief late", tied: "boom nested type sql", bare: "brief",
	},
}

func (s *stack) ties(kind string) bool { return has(s.tied, kind) }
func (s *stack) asks(kind string) bool { return has(s.fails, kind) && !has(s.bare, kind) }

func has(words, word string) bool {
	return word != "" && strings.Contains(" "+words+" ", " "+word+" ")
}

// A site is where one app runs.
type site struct {
	testing.TB
	stage   *stage.Stage
	address string
	running []*stage.Process
}

// run starts a part of the app. What it prints goes into the file of that name among the logs; "" leaves it.
func (s *site) run(log string, cmd *exec.Cmd) {
	s.Helper()
	if log != "" {
		out, err := os.OpenFile(filepath.Join(s.stage.Logs, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			s.Fatal(err)
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
	}
	s.running = append(s.running, stage.Start(s, filepath.Base(cmd.Path), cmd))
}

// await waits until the app answers a path.
func (s *site) await(path string) {
	s.Helper()
	stage.Await(s, "the app to answer", func() bool {
		answer, err := http.Get("http://" + s.address + path)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode < 500
	})
}

// kill ends the app at once, so that nothing more is written.
func (s *site) kill() {
	for _, p := range s.running {
		p.Kill()
	}
}

func (s *site) host() string { return netip.MustParseAddrPort(s.address).Addr().String() }

func (s *site) port() string { return strconv.Itoa(int(netip.MustParseAddrPort(s.address).Port())) }

// source gives the path of a file of this folder.
func (s *site) source(name string) string {
	path, err := filepath.Abs(name)
	if err != nil {
		s.Fatal(err)
	}
	return path
}

// write writes a file of the site and returns its path.
func (s *site) write(name, content string) string {
	path := filepath.Join(s.stage.Dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		s.Fatal(err)
	}
	return path
}

func (s *site) node(app string) {
	s.run("app.log", with(exec.Command("node", s.source(app+"/shop.js"), s.host(), s.port()), "NODE_ENV=production"))
	s.await("/")
}

// with adds to a command's environment.
func with(cmd *exec.Cmd, env ...string) *exec.Cmd {
	cmd.Env = append(cmd.Environ(), env...)
	return cmd
}

func startTomcat(s *site) {
	s.running = append(s.running, tomcat.Start(s, s.stage.Dir, s.address))
}

// java starts the Java shop with the jars of Debian that make its logging.
func (s *site) java(jars ...string) {
	path := s.source("java")
	for _, jar := range append(jars, "log4j-api") {
		path += ":/usr/share/java/" + jar + ".jar"
	}
	s.run("", exec.Command("java", "-Xmx128m", "-Dlogs="+s.stage.Logs, "-cp", path, s.source("java/Shop.java"), s.host(), s.port()))
	s.await("/")
}

func startDjango(s *site) { s.gunicorn("django", "shop:application", "--workers", "4") }
func startFlask(s *site)  { s.gunicorn("flask", "shop:app", "--threads", "8") }

func (s *site) gunicorn(folder, app string, args ...string) {
	args = append([]string{"-m", "gunicorn", "--bind", s.address, "--chdir", s.source(folder)}, append(args, app)...)
	s.run("app.log", with(exec.Command("/usr/bin/python3", args...), "PYTHONDONTWRITEBYTECODE=1"))
	s.await("/old/1")
}

func startRails(s *site)   { s.puma("rails", "puma.log") }
func startSinatra(s *site) { s.puma("sinatra", "app.log") }

func (s *site) puma(folder, log string) {
	cmd := exec.Command("puma", "--bind", "tcp://"+s.address, "--threads", "8:8", "--environment", "production", s.source(folder+"/config.ru"))
	cmd.Dir = s.stage.Dir
	s.run(log, with(cmd, "RAILS_ENV=production", "SHOP_ROOT="+s.stage.Dir, "SHOP_LOGS="+s.stage.Logs))
	s.await("/old/1")
}

func startGo(s *site) {
	program := filepath.Join(s.stage.Dir, "goshop")
	if out, err := exec.Command("go", "build", "-o", program, "./goshop").CombinedOutput(); err != nil {
		s.Fatalf("build the Go shop: %v\n%s", err, out)
	}
	s.run("app.log", exec.Command(program, s.address))
	s.await("/")
}

// startNginx puts nginx before a backend whose complaints nginx writes into its own error log.
func startNginx(s *site) {
	fastcgi, broken := serveFastCGI(s), serveBroken(s)
	s.open()
	conf := s.write("nginx.conf", fmt.Sprintf(`
daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log %[2]s/error.log;
events {}
http {
	access_log %[2]s/access.log;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; scgi_temp_path %[1]s; uwsgi_temp_path %[1]s;
	server {
		listen %[3]s;
		location / {
			include /etc/nginx/fastcgi_params;
			fastcgi_pass %[4]s;
		}
		location /cart/ {
			proxy_pass http://%[5]s;
		}
	}
}
`, s.stage.Dir, s.stage.Logs, s.address, fastcgi, broken))
	s.run("", exec.Command("nginx", "-c", conf))
	s.await("/old/1")
}
