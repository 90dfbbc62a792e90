//go:build e2e

// Package kubelet has a legacy app's pod run on a real node, with kubelet, containerd and runc, and logs in each of the three
// ways: into files, to its output under sidecar exec, and to its output as the node keeps it.
package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/e2e/kube/cluster"
)

// Where the stand-in listens for the pods.
const cloud = cluster.NodeAddress + ":8085"

func TestMain(m *testing.M) {
	cluster.Main(m, "cmd/sidecar", "cmd/injector", "cmd/redirect", "e2e/kubelet/legacy", "e2e/kubelet/pause")
}

// A site is a cluster with one real node, the images of the pods, and a stand-in that they reach.
type site struct {
	*cluster.Cluster
	t     *testing.T
	cloud *exec.Cmd
}

func newSite(t *testing.T) *site {
	t.Helper()
	t.Setenv("PATH", filepath.Dir(cluster.Tool(t, "kubectl"))+string(os.PathListSeparator)+os.Getenv("PATH"))
	c := cluster.New(t, "--kubelet-preferred-address-types=InternalIP")
	node := c.StartKubelet(t, cluster.Program("pause"))
	node.Image(t, "sidecar", map[string]string{"/sidecar": cluster.Program("sidecar"), "/redirect": cluster.Program("redirect")}, "/sidecar")
	node.Image(t, "legacy", map[string]string{"/legacy": cluster.Program("legacy")})
	s := &site{c, t, c.Start(t, "cloud", cluster.Program("sidecar"), "cloud", "--listen", cloud)}
	cluster.Eventually(t, time.Minute, "the stand-in answers", func() error { _, err := s.entries(); return err })
	return s
}

// entries gives what has arrived.
func (s *site) entries() ([]entry, error) {
	out, err := s.TryRun("curl", "-sSf", "http://"+cloud+"/v2/entries:list", "-d", `{"resourceNames":["projects/shop"],"pageSize":1000}`)
	if err != nil {
		return nil, err
	}
	var list struct{ Entries []entry }
	err = json.Unmarshal([]byte(out), &list)
	return list.Entries, err
}

// A way is one in which the app logs.
type way struct {
	name        string
	annotations string
	command     string
}

var ways = []way{
	{"files", `openreplay-sidecar/logs: "/logs/*.log"`, `["/legacy", "/logs/app.log"]`},
	{"exec", "openreplay-sidecar/stdout: exec", `["/legacy"]`},
	{"node", "openreplay-sidecar/stdout: node", `["/legacy"]`},
}

// manifest is the pod as its owners have it, but for the annotations.
func (w *way) manifest(more string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: shop
  annotations:
    openreplay-sidecar/image: localhost/sidecar:1
    openreplay-sidecar/project: shop
    openreplay-sidecar/endpoint: "%s"
    openreplay-sidecar/plaintext: "true"
    openreplay-sidecar/pace: "0"
    %s
    %s
spec:
  dnsPolicy: Default
  terminationGracePeriodSeconds: 20
  containers:
  - name: app
    image: localhost/legacy:1
    command: %s
    ports: [{name: http, containerPort: 8080}]
    livenessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1}
`, cloud, w.annotations, more, w.command)
}

// run injects the pod by hand, as somebody with GitOps does, and waits until it is ready.
func (s *site) run(manifest string) (front string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	inject := s.Command(ctx, cluster.Program("injector"), "inject", "-f", "-")
	inject.Stdin = strings.NewReader(manifest)
	var said strings.Builder
	inject.Stderr = &said
	out, err := inject.Output()
	if err != nil {
		s.t.Fatalf("inject: %v\n%s", err, said.String())
	}
	s.Apply(s.t, "", string(out))
	s.Await(s.t, "True", "get", "pod", "shop", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
	ip := s.Kubectl(s.t, "get", "pod", "shop", "-o", "jsonpath={.status.podIP}")
	port := s.Kubectl(s.t, "get", "pod", "shop", "-o", `jsonpath={.spec.initContainers[?(@.name=="openreplay-sidecar")].ports[?(@.name=="http")].containerPort}`)
	return ip + ":" + port
}

// ask sends a request of a session, and gives its status; 0 where there was no answer.
func (s *site) ask(front, path, id string) int {
	out, _ := s.TryRun("curl", "-s", "-o", "/dev/null", "-m", "5", "-w", "%{http_code}", "-H", "X-Request-ID: "+id, "-H", "X-OpenReplay-SessionToken: "+token, "http://"+front+path)
	status, _ := strconv.Atoi(strings.TrimSpace(out))
	return status
}

const token = "jw4wdfpgq0001.3az.lrraavgc.ovJ2jwk7BEAZr3hB"

func id(n int) string { return fmt.Sprintf("6f1c9d3e-95a1-4b9e-8f0e-0c2a54d3a%03d", n) }

type entry struct {
	Labels      map[string]string
	JSONPayload struct{ Message string }
}

// arrives waits until an entry about a request is there, and wants it once and under its session.
func (s *site) arrives(what, text string) {
	s.t.Helper()
	cluster.Eventually(s.t, time.Minute, what+" arrives", func() error {
		all, err := s.entries()
		if err != nil {
			return err
		}
		n := 0
		for _, e := range all {
			if strings.Contains(e.JSONPayload.Message, text) {
				if n++; e.Labels["openReplaySessionToken"] != token {
					s.t.Fatalf("%s arrived with %v", what, e.Labels)
				}
			}
		}
		if n != 1 {
			return fmt.Errorf("%d times; %s", n, s.sidecarSaid())
		}
		return nil
	})
}

func (s *site) sidecarSaid() string {
	out, _ := s.TryRun(cluster.Tool(s.t, "kubectl"), "logs", "shop", "-c", "openreplay-sidecar", "--tail=5")
	return out
}

// killSidecar kills the sidecar's process as the kernel does when memory is short.
func (s *site) killSidecar() {
	s.t.Helper()
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		line, _ := os.ReadFile(path)
		if words := strings.Split(string(line), "\x00"); len(words) > 1 && words[0] == "/sidecar" && words[1] == "run" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				s.t.Fatal(err)
			}
			return
		}
	}
	s.t.Fatal("no sidecar runs")
}

func TestThreeWaysToLog(t *testing.T) {
	s := newSite(t)
	for n, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			s := &site{s.Cluster, t, s.cloud}
			front := s.run(w.manifest(""))
			first := 10 * (n + 1)
			if status := s.ask(front, "/fail?ref=first", id(first)); status != 500 {
				t.Fatalf("the app answered %d through the sidecar", status)
			}
			s.arrives("an error", id(first))

			for _, want := range []string{"ok    sidecar", "ok    container", "ok    sessions", "ok    matches", "ok    delivery"} {
				if said, err := s.TryRun(cluster.Program("injector"), "doctor", "shop"); err != nil || !strings.Contains(said, want) {
					t.Errorf("the doctor does not say %q (%v):\n%s", want, err, said)
				}
			}

			started := s.Kubectl(t, "get", "pod", "shop", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
			s.ask(front, "/fail?ref=before-the-kill", id(first+1))
			s.killSidecar()
			killed := time.Now()
			cluster.Eventually(t, time.Minute, "the sidecar is back", func() error {
				if status := s.ask(front, "/", id(first+2)); status != 200 {
					return fmt.Errorf("status %d", status)
				}
				return nil
			})
			t.Logf("killed, it answered again after %.1f s", time.Since(killed).Seconds())
			s.arrives("an error before the kill", id(first+1))
			s.ask(front, "/fail?ref=after", id(first+3))
			s.arrives("an error after it", id(first+3))
			if now := s.Kubectl(t, "get", "pod", "shop", "-o", "jsonpath={.status.containerStatuses[0].containerID}"); now != started {
				t.Error("the app was started anew: the sidecar's death took it along")
			}

			s.ask(front, "/", id(first+4))
			s.Kubectl(t, "delete", "pod", "shop", "--timeout=60s")
			s.arrives("the last error, written behind SIGTERM", id(first+4))
		})
	}
}

// TestKilledAgainAndAgain: kubelet waits ever longer before it starts the sidecar anew. Meanwhile the app lives, and answers at
// its own port; requests through the sidecar are refused.
func TestKilledAgainAndAgain(t *testing.T) {
	s := newSite(t)
	front := s.run(ways[0].manifest(""))
	ip, _, _ := strings.Cut(front, ":")
	for n := range 3 {
		s.ask(front, "/fail?ref=before-a-kill", id(n))
		s.killSidecar()
		killed := time.Now()
		if status := s.ask(ip+":8080", "/", id(900)); status != 200 {
			t.Errorf("the app answers %d while the sidecar is dead", status)
		}
		cluster.Eventually(t, 2*time.Minute, "the sidecar is back", func() error {
			if status := s.ask(front, "/", id(901)); status != 200 {
				return fmt.Errorf("status %d", status)
			}
			return nil
		})
		t.Logf("killed for the %d. time, it answered again after %.1f s", n+1, time.Since(killed).Seconds())
		s.arrives("an error before the kill", id(n))
	}
}

// TestDeletedWhileGoogleIsAway: what could not be sent is on the sidecar's own output, as GKE's agent reads it.
func TestDeletedWhileGoogleIsAway(t *testing.T) {
	s := newSite(t)
	front := s.run(ways[0].manifest(`openreplay-sidecar/drain: 5s`))
	s.ask(front, "/fail?ref=sent", id(1))
	s.arrives("an error before the outage", id(1))
	s.cloud.Process.Kill()
	s.ask(front, "/fail?ref=unsent", id(2))

	logs := s.Command(context.Background(), cluster.Tool(t, "kubectl"), "logs", "-f", "shop", "-c", "openreplay-sidecar")
	var said strings.Builder
	logs.Stdout = &said
	if err := logs.Start(); err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "delete", "pod", "shop", "--timeout=60s")
	logs.Wait()
	for _, want := range []string{id(2), `"logging.googleapis.com/labels"`, `"openReplaySessionToken":"` + token + `"`, "cut off by the end", `"entries":2`} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("its output lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(said.String())
	}
}
