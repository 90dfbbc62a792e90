// Package cluster puts up a real Kubernetes in a network namespace of its own: etcd, API server, controller manager and
// scheduler. Its nodes are kwok's, or a real kubelet's.
package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Cluster is one control plane. It lives as long as the test that made it.
type Cluster struct {
	Dir        string // logs, keys, data
	Kubeconfig string
	netns      string
	processes  []process
	Client     *Client
}

// Root is the repository's.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../../..")
}

// Tool gives the path of a program that e2e/kube/tools/build made.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(Root(), ".cache/kube/bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is not built: run e2e/kube/tools/build %s", name, name)
	}
	return path
}

// programs is the directory of what Main built.
var programs string

// Program is one of the commands that Main built, by the last part of its path.
func Program(name string) string { return filepath.Join(programs, name) }

// Main builds commands of this module and runs the tests.
func Main(m *testing.M, commands ...string) {
	args := []string{"build", "-tags", "grpcnotrace", "-trimpath", "-ldflags", "-s -w", "-o"}
	dir, err := os.MkdirTemp("", "kube-e2e-")
	if err == nil {
		programs, args = dir, append(args, dir+"/")
		for _, command := range commands {
			args = append(args, "github.com/openreplay/log-sidecar/"+command)
		}
		build := exec.Command("go", args...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// In a cluster's network these are nobody else's.
const (
	apiAddress = "127.0.0.1:6443"
	podNetwork = "10.244.0.0/16"
)

// New starts the control plane and waits until it answers.
func New(t testing.TB, apiserver ...string) *Cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	c := &Cluster{Dir: t.TempDir(), netns: fmt.Sprintf("orkube-%d-%d", os.Getpid(), time.Now().UnixNano()%1e6)}
	run(t, "ip", "netns", "add", c.netns)
	t.Cleanup(func() { c.stop(t) })
	run(t, "ip", "-n", c.netns, "link", "set", "lo", "up")
	// Every pod's address is one of this namespace, so that whatever stands for a pod can listen on it.
	run(t, "ip", "-n", c.netns, "route", "add", "local", podNetwork, "dev", "lo")
	c.makeKeys(t)
	c.Client = newClient(t, c)
	c.startControlPlane(t, apiserver)
	return c
}

func (c *Cluster) startControlPlane(t testing.TB, apiserver []string) {
	t.Helper()
	etcd := "/usr/bin/etcd"
	if _, err := os.Stat(etcd); err != nil {
		t.Fatal("etcd is not here: run e2e/setup")
	}
	file := func(name string) string { return filepath.Join(c.Dir, name) }
	const etcdClient, etcdPeer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	c.Start(t, "etcd", etcd, "--data-dir", file("etcd"), "--listen-client-urls", etcdClient, "--advertise-client-urls", etcdClient,
		"--listen-peer-urls", etcdPeer, "--initial-advertise-peer-urls", etcdPeer, "--initial-cluster", "default="+etcdPeer, "--unsafe-no-fsync")
	c.Start(t, "kube-apiserver", Tool(t, "kube-apiserver"), append([]string{
		"--etcd-servers=" + etcdClient, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=6443",
		"--tls-cert-file=" + file("apiserver.crt"), "--tls-private-key-file=" + file("apiserver.key"), "--client-ca-file=" + file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + file("sa.pub"),
		"--service-account-signing-key-file=" + file("sa.key"), "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC",
		"--allow-privileged=true", "--endpoint-reconciler-type=none",
		// There is no kube-proxy: a webhook's Service is called by its endpoints' addresses.
		"--enable-aggregator-routing=true",
	}, apiserver...)...)
	Eventually(t, time.Minute, "the API server is ready", func() error {
		var answer string
		return c.Client.Text("GET", "/readyz", &answer)
	})
	kubeconfigs := func(name string) []string {
		path := file(name + ".kubeconfig")
		return []string{"--kubeconfig=" + path, "--authentication-kubeconfig=" + path, "--authorization-kubeconfig=" + path, "--bind-address=127.0.0.1", "--leader-elect=false"}
	}
	c.Start(t, "kube-controller-manager", Tool(t, "kube-controller-manager"), append(kubeconfigs("controller-manager"),
		"--use-service-account-credentials", "--service-account-private-key-file="+file("sa.key"), "--root-ca-file="+file("ca.crt"),
		"--cluster-signing-cert-file="+file("ca.crt"), "--cluster-signing-key-file="+file("ca.key"))...)
	c.Start(t, "kube-scheduler", Tool(t, "kube-scheduler"), kubeconfigs("scheduler")...)
	Eventually(t, time.Minute, "the default namespace has its service account", func() error {
		return c.Client.Get("/api/v1/namespaces/default/serviceaccounts/default", nil)
	})
}

// StartKwok makes one node whose pods are said to run as soon as they are scheduled, except those of the injector.
func (c *Cluster) StartKwok(t testing.TB, except string) {
	t.Helper()
	stages := c.kwokStages(t, except)
	c.Start(t, "kwok", Tool(t, "kwok"), "--kubeconfig="+c.Kubeconfig, "--config="+stages, "--manage-all-nodes=true",
		"--cidr=10.244.0.1/24", "--node-ip=127.0.0.1", "--server-address=127.0.0.1:10247", "--node-lease-duration-seconds=40")
	c.Apply(t, "", `
apiVersion: v1
kind: Node
metadata: {name: kwok, labels: {kubernetes.io/hostname: kwok, kubernetes.io/os: linux}}
status:
  allocatable: {cpu: "32", memory: 256Gi, pods: "1000"}
  capacity: {cpu: "32", memory: 256Gi, pods: "1000"}
`)
}

// kwokStages takes the stages that the kwok module brings, and leaves the pods of one app to others.
func (c *Cluster) kwokStages(t testing.TB, except string) string {
	t.Helper()
	module := strings.TrimSpace(run(t, "go", "mod", "download", "-json", "sigs.k8s.io/kwok@v0.8.0"))
	_, module, _ = strings.Cut(module, `"Dir": "`)
	module, _, _ = strings.Cut(module, `"`)
	var all strings.Builder
	for _, name := range []string{"node/fast/node-initialize", "node/heartbeat-with-lease/node-heartbeat-with-lease",
		"pod/fast/pod-ready", "pod/fast/pod-complete", "pod/fast/pod-delete"} {
		b, err := os.ReadFile(filepath.Join(module, "kustomize/stage", name+".yaml"))
		if err != nil {
			t.Fatalf("kwok's stages: %v", err)
		}
		text := string(b)
		if strings.HasPrefix(name, "pod/") {
			text = strings.Replace(text, "    matchExpressions:\n", fmt.Sprintf(
				"    matchExpressions:\n    - key: '.metadata.labels[\"app.kubernetes.io/name\"]'\n      operator: 'NotIn'\n      values: ['%s']\n", except), 1)
		}
		all.WriteString(text + "\n---\n")
	}
	path := filepath.Join(c.Dir, "stages.yaml")
	if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Command is a program inside of the cluster's network. nsenter keeps the cgroup file system, which `ip netns exec` hides.
func (c *Cluster) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + c.netns, name}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig,
		"HELM_CACHE_HOME="+filepath.Join(c.Dir, "helm/cache"), "HELM_CONFIG_HOME="+filepath.Join(c.Dir, "helm/config"), "HELM_DATA_HOME="+filepath.Join(c.Dir, "helm/data"))
	cmd.Dir = Root()
	return cmd
}

// Start runs a program until the end of the cluster; its output is in Dir/NAME.log.
func (c *Cluster) Start(t testing.TB, name, program string, args ...string) *exec.Cmd {
	t.Helper()
	log, err := os.Create(filepath.Join(c.Dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := c.Command(context.Background(), program, args...)
	cmd.Dir = c.Dir
	cmd.Stdout, cmd.Stderr = log, log
	ended, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	c.processes = append(c.processes, process{cmd, ended})
	return cmd
}

// A process is a program that runs; ended is closed when it does not any more.
type process struct {
	*exec.Cmd
	ended chan struct{}
}

// start starts a program that the kernel kills should the test be killed. The kernel takes the end of the thread that
// started it for that, so a thread is kept for it.
func start(cmd *exec.Cmd) (ended chan struct{}, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended = make(chan struct{})
	started := make(chan error)
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	return ended, <-started
}

// Run runs a program to its end and gives its output.
func (c *Cluster) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := c.TryRun(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return out
}

// TryRun gives the output of both streams.
func (c *Cluster) TryRun(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, err := c.Command(ctx, name, args...).CombinedOutput()
	return string(out), err
}

// Kubectl runs kubectl.
func (c *Cluster) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return c.Run(t, Tool(t, "kubectl"), args...)
}

// Apply applies manifests; into a namespace, if one is given.
func (c *Cluster) Apply(t testing.TB, namespace, manifests string, args ...string) string {
	t.Helper()
	out, err := c.TryApply(t, namespace, manifests, args...)
	if err != nil {
		t.Fatalf("kubectl apply: %v\n%s\n%s", err, out, manifests)
	}
	return out
}

// TryApply gives kubectl's output, warnings among it.
func (c *Cluster) TryApply(t testing.TB, namespace, manifests string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if namespace != "" {
		args = append(args, "-n", namespace)
	}
	cmd := c.Command(ctx, Tool(t, "kubectl"), append([]string{"apply", "-f", "-"}, args...)...)
	cmd.Stdin = strings.NewReader(manifests)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Namespace makes a namespace that can take pods.
func (c *Cluster) Namespace(t testing.TB, name string, labels ...string) {
	t.Helper()
	c.Apply(t, "", "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+", labels: {"+strings.Join(labels, ", ")+"}}}")
	Eventually(t, 30*time.Second, "the namespace has its service account", func() error {
		return c.Client.Get("/api/v1/namespaces/"+name+"/serviceaccounts/default", nil)
	})
}

// stop ends what was started, by the processes' own numbers and the newest first. The API server would drain for a minute.
func (c *Cluster) stop(t testing.TB) {
	for i := len(c.processes) - 1; i >= 0; i-- {
		p := c.processes[i]
		p.Process.Kill()
		<-p.ended
	}
	if t.Failed() {
		c.showLogs(t)
	}
	exec.Command("ip", "netns", "del", c.netns).Run()
}

func (c *Cluster) showLogs(t testing.TB) {
	logs, _ := filepath.Glob(filepath.Join(c.Dir, "*.log"))
	for _, path := range logs {
		b, _ := os.ReadFile(path)
		t.Logf("the end of %s:\n%s", filepath.Base(path), b[max(0, len(b)-1500):])
	}
}

// Eventually tries until there is no error.
func Eventually(t testing.TB, within time.Duration, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
