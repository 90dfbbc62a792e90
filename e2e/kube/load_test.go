//go:build e2e

package kube

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/e2e/kube/cluster"
)

// load makes pods, as dry runs, at a steady pace, and gives how many there were and those that failed or have no sidecar.
func load(c *cluster.Cluster, namespace string, perSecond int, until <-chan struct{}) (made int, bad []string) {
	var group sync.WaitGroup
	var mu sync.Mutex
	var n atomic.Int64
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for {
		select {
		case <-until:
			group.Wait()
			return int(n.Load()), bad
		case <-tick.C:
			group.Go(func() {
				n.Add(1)
				p, err := dryRun(c, namespace, []byte(plainPod))
				if err == nil && p.sidecar() {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				bad = append(bad, fmt.Sprintf("sidecar %v, %v", p.sidecar(), err))
			})
		}
	}
}

// TestCertificatesChangeUnderLoad: with failurePolicy Fail, whatever the API server believed or an injector showed at a wrong
// moment would be a refused pod.
func TestCertificatesChangeUnderLoad(t *testing.T) {
	c := newCluster(t)
	c.RunPods(t, program(), system, injector)
	install(t, c, "helm3", "webhook.failurePolicy=Fail", "certificates.lifetime=18s", "certificates.settle=3s", "extraArgs={--certificate-look=500ms}")
	c.Namespace(t, "apps")
	done := make(chan struct{})
	seen := map[string]bool{}
	go func() {
		defer close(done)
		for end := time.Now().Add(time.Minute); time.Now().Before(end) && len(seen) < 5; time.Sleep(100 * time.Millisecond) {
			var secret struct{ Data map[string]string }
			if c.Client.Get("/api/v1/namespaces/"+system+"/secrets/or-openreplay-sidecar-injector-tls", &secret) == nil {
				seen[secret.Data["tls.crt"]] = true
			}
		}
	}()
	made, bad := load(c, "apps", 50, done)
	t.Logf("%d pods, %d certificates", made, len(seen))
	if len(seen) < 4 {
		t.Errorf("%d certificates were seen in a minute, and should be 4 and more", len(seen))
	}
	if len(bad) > 0 {
		t.Errorf("%d of %d pods were refused or have no sidecar, the first: %s", len(bad), made, bad[0])
	}
}

// TestRollUnderLoad: a new version of the injector loses no pod.
func TestRollUnderLoad(t *testing.T) {
	c := newCluster(t)
	c.RunPods(t, program(), system, injector)
	install(t, c, "helm3", "webhook.failurePolicy=Fail")
	c.Namespace(t, "apps")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2 {
			c.TryRun(cluster.Tool(t, "kubectl"), "rollout", "restart", "-n", system, "deployment/or-openreplay-sidecar-injector")
			c.TryRun(cluster.Tool(t, "kubectl"), "rollout", "status", "-n", system, "deployment/or-openreplay-sidecar-injector", "--timeout=180s")
		}
	}()
	made, bad := load(c, "apps", 20, done)
	if len(bad) > 0 {
		t.Errorf("%d of %d pods were refused or have no sidecar, the first: %s", len(bad), made, bad[0])
	}
	t.Logf("%d pods", made)
}

// TestCost: 20 MiB when idle, and 10 ms at p99, at 50 pods a second. How quick it is shows on a machine with nothing else to
// do, so COST=1 asks for it (make kube-cost).
func TestCost(t *testing.T) {
	c := newCluster(t)
	node := c.RunPods(t, program(), system, injector)
	install(t, c, "helm3")
	c.Namespace(t, "apps")
	const idle = 20
	for ip, pid := range node.Processes() {
		if rss := residentMiB(t, pid); rss > idle {
			t.Errorf("%s has %d MiB when idle, and may have %d", ip, rss, idle)
		} else {
			t.Logf("idle: %d MiB", rss)
		}
	}
	stop := make(chan struct{})
	time.AfterFunc(20*time.Second, func() { close(stop) })
	made, bad := load(c, "apps", 50, stop)
	if len(bad) > 0 {
		t.Errorf("%d of %d pods have no sidecar, the first: %s", len(bad), made, bad[0])
	}
	for _, pid := range node.Processes() {
		t.Logf("after %d pods: %d MiB", made, residentMiB(t, pid))
	}
	var text string
	if err := c.Client.Text("GET", "/metrics", &text); err != nil {
		t.Fatal(err)
	}
	total := bucket(t, text, `apiserver_admission_webhook_admission_duration_seconds_count{name="pod.openreplay-sidecar.injector"`)
	for _, le := range []string{"0.005", "0.01", "0.02", "0.025", "0.05", "0.1", "0.5"} {
		if within := bucket(t, text, `apiserver_admission_webhook_admission_duration_seconds_bucket{name="pod.openreplay-sidecar.injector"`, `le="`+le+`"`); within > 0 {
			t.Logf("the API server waited no longer than %s s for %.2f %% of %.0f answers", le, 100*within/total, total)
		}
	}
	for ip := range node.Processes() {
		own := metrics(t, c, ip)
		all, quick := bucket(t, own, "injector_admission_seconds_count"), bucket(t, own, `injector_admission_seconds_bucket{le="0.01"}`)
		t.Logf("%s: %.2f %% of %.0f answers within 10 ms", ip, 100*quick/all, all)
		if os.Getenv("COST") != "" && quick/all < 0.99 {
			t.Errorf("%s: %.1f %% of the answers took 10 ms or less, and should be 99 %%", ip, 100*quick/all)
		}
	}
}

// bucket adds up the samples whose line begins with the first part and has the others.
func bucket(t testing.TB, text, begin string, parts ...string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(text) {
		ok := strings.HasPrefix(line, begin)
		for _, p := range parts {
			ok = ok && strings.Contains(line, p)
		}
		if ok {
			fields := strings.Fields(line)
			v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

func residentMiB(t testing.TB, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}
