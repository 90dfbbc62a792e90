package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Node does for the pods of one app what a kubelet does: it runs their real program, with the arguments, the ConfigMap
// and the service account's token that the pod has, on the pod's address; tells when it is ready; and ends it in order.
type Node struct {
	cluster   *Cluster
	program   string
	namespace string
	selector  string
	cancel    context.CancelFunc
	done      chan struct{}

	mu   sync.Mutex
	pods map[string]*container // by UID
	next int
}

type container struct {
	process
	ip            string
	ready, ending bool
}

// pod is what the node reads.
type pod struct {
	Metadata struct {
		Name, UID, DeletionTimestamp string
	}
	Spec struct {
		NodeName           string
		ServiceAccountName string
		Containers         []struct {
			Name string
			Args []string
		}
		Volumes []struct {
			Name      string
			ConfigMap struct{ Name string }
		}
	}
}

// RunPods runs the pods that have a label, until the test ends.
func (c *Cluster) RunPods(t testing.TB, program, namespace, selector string) *Node {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n := &Node{cluster: c, program: program, namespace: namespace, selector: selector, cancel: cancel, done: make(chan struct{}), pods: map[string]*container{}}
	go func() {
		defer close(n.done)
		for ctx.Err() == nil {
			n.sync(t)
			time.Sleep(50 * time.Millisecond)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-n.done
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, p := range n.pods {
			p.Process.Kill()
			<-p.ended
		}
	})
	return n
}

// Processes gives the numbers of the programs that are ready, by their pods' addresses.
func (n *Node) Processes() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[string]int{}
	for _, p := range n.pods {
		if p.ready {
			out[p.ip] = p.Process.Pid
		}
	}
	return out
}

// sync does one round. What fails is tried in the next one.
func (n *Node) sync(t testing.TB) {
	var list struct{ Items []pod }
	if n.cluster.Client.Get("/api/v1/namespaces/"+n.namespace+"/pods?labelSelector="+n.selector, &list) != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range list.Items {
		running := n.pods[p.Metadata.UID]
		switch {
		case running == nil && p.Metadata.DeletionTimestamp == "" && p.Spec.NodeName != "":
			if err := n.start(p); err != nil {
				t.Logf("the pod %s does not start: %v", p.Metadata.Name, err)
			}
		case running == nil && p.Metadata.DeletionTimestamp != "":
			n.remove(p)
		case running == nil:
		case p.Metadata.DeletionTimestamp != "":
			n.end(p, running)
		default:
			n.tell(p, running)
		}
	}
}

func (n *Node) start(p pod) error {
	n.next++
	ip := fmt.Sprintf("10.244.9.%d", n.next)
	dir := filepath.Join(n.cluster.Dir, "pods", p.Metadata.Name)
	if err := n.files(dir, p); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(n.cluster.Dir, p.Metadata.Name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{}
	for _, a := range p.Spec.Containers[0].Args {
		a = strings.Replace(a, "/etc/injector/", dir+"/config/", 1)
		a = strings.Replace(a, "--listen=:", "--listen="+ip+":", 1) // several pods, one network
		args = append(args, a)
	}
	args = append(args, "--health="+ip+":9094", "--service-account="+dir)
	cmd := n.cluster.Command(context.Background(), n.program, args...)
	cmd.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST=127.0.0.1", "KUBERNETES_SERVICE_PORT=6443", "GOMEMLIMIT=96MiB", "GOMAXPROCS=2")
	cmd.Stdout, cmd.Stderr = log, log
	ended, err := start(cmd)
	if err != nil {
		return err
	}
	running := &container{ip: ip, process: process{cmd, ended}}
	n.pods[p.Metadata.UID] = running
	return n.status(p, running, false)
}

// files writes the pod's ConfigMap and its service account's credentials.
func (n *Node) files(dir string, p pod) error {
	if err := os.MkdirAll(filepath.Join(dir, "config"), 0o700); err != nil {
		return err
	}
	for _, v := range p.Spec.Volumes {
		if v.ConfigMap.Name == "" {
			continue
		}
		var config struct{ Data map[string]string }
		if err := n.cluster.Client.Get("/api/v1/namespaces/"+n.namespace+"/configmaps/"+v.ConfigMap.Name, &config); err != nil {
			return err
		}
		for name, text := range config.Data {
			if err := os.WriteFile(filepath.Join(dir, "config", name), []byte(text), 0o600); err != nil {
				return err
			}
		}
	}
	return n.cluster.WriteToken(dir, n.namespace, p.Spec.ServiceAccountName)
}

// WriteToken writes a service account's credentials as a pod has them.
func (c *Cluster) WriteToken(dir, namespace, account string) error {
	var token struct{ Status struct{ Token string } }
	err := c.Client.Create("/api/v1/namespaces/"+namespace+"/serviceaccounts/"+account+"/token", []byte(`{"spec":{"expirationSeconds":3600}}`), &token)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(c.Dir, "ca.crt"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), ca, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "token"), []byte(token.Status.Token), 0o600)
}

// tell asks the program whether it is ready, and says so where that has changed.
func (n *Node) tell(p pod, running *container) {
	var answer string
	ready := n.cluster.Client.Text(http.MethodGet, "http://"+running.ip+":9094/readyz", &answer) == nil
	if ready != running.ready && n.status(p, running, ready) == nil {
		running.ready = ready
	}
}

func (n *Node) status(p pod, running *container, ready bool) error {
	word := map[bool]string{true: "True", false: "False"}[ready]
	now := time.Now().UTC().Format(time.RFC3339)
	condition := func(kind, status string) map[string]any {
		return map[string]any{"type": kind, "status": status, "lastTransitionTime": now}
	}
	body, err := json.Marshal(map[string]any{"status": map[string]any{
		"phase": "Running", "podIP": running.ip, "podIPs": []any{map[string]any{"ip": running.ip}}, "startTime": now,
		"conditions": []any{condition("Initialized", "True"), condition("Ready", word), condition("ContainersReady", word), condition("PodScheduled", "True")},
		"containerStatuses": []any{map[string]any{"name": p.Spec.Containers[0].Name, "ready": ready, "started": true, "image": "x", "imageID": "x", "restartCount": 0,
			"state": map[string]any{"running": map[string]any{"startedAt": now}}}},
	}})
	if err != nil {
		return err
	}
	return n.cluster.Client.Do("PATCH", "/api/v1/namespaces/"+n.namespace+"/pods/"+p.Metadata.Name+"/status", "application/strategic-merge-patch+json", body, nil)
}

// end asks the program to end, and removes the pod when it has.
func (n *Node) end(p pod, running *container) {
	select {
	case <-running.ended:
		delete(n.pods, p.Metadata.UID)
		n.remove(p)
	default:
		if !running.ending {
			running.Process.Signal(syscall.SIGTERM)
			running.ending, running.ready = true, false
		}
	}
}

func (n *Node) remove(p pod) {
	n.cluster.Client.Do("DELETE", "/api/v1/namespaces/"+n.namespace+"/pods/"+p.Metadata.Name, "application/json",
		[]byte(`{"gracePeriodSeconds":0,"preconditions":{"uid":"`+p.Metadata.UID+`"}}`), nil)
}
