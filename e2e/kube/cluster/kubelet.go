package cluster

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// NodeAddress is the real node's, and podRange its pods'.
const (
	NodeAddress = "10.98.0.1"
	podRange    = "10.245.0.0/24"
)

// Kubelet is a real node of the cluster: kubelet, containerd and runc.
type Kubelet struct {
	cluster *Cluster
	dir     string
	socket  string
}

// StartKubelet makes the node and waits until it is ready. Its images are those that Image makes; pause is the program of the
// one that holds a pod together.
func (c *Cluster) StartKubelet(t testing.TB, pause string) *Kubelet {
	t.Helper()
	for _, need := range []string{"/usr/sbin/runc", "/usr/lib/cni/bridge"} {
		if _, err := os.Stat(need); err != nil {
			t.Fatalf("%s is not here: apt-get install runc containernetworking-plugins", need)
		}
	}
	// Short, because a socket's path is; and below a directory that is no memory, because images are unpacked there.
	dir, err := os.MkdirTemp("/var/tmp", "orkube-")
	if err != nil {
		t.Fatal(err)
	}
	k := &Kubelet{c, dir, filepath.Join(dir, "c.sock")}
	t.Cleanup(func() { k.stop(t) })
	for _, args := range []string{"link add br-node type bridge", "addr add " + NodeAddress + "/24 dev br-node", "link set br-node up", "route add default via 10.98.0.254 dev br-node"} {
		run(t, "ip", append([]string{"-n", c.netns}, strings.Fields(args)...)...)
	}
	k.write(t, "cni/net.conflist", `{"cniVersion":"1.0.0","name":"or","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"ipam":{"type":"host-local",
		"dataDir":"DIR/ipam","ranges":[[{"subnet":"`+podRange+`"}]],"routes":[{"dst":"0.0.0.0/0"}]}},{"type":"loopback"}]}`)
	k.write(t, "containerd.toml", `
version = 3
root = "DIR/root"
state = "DIR/state"
[grpc]
  address = "DIR/c.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "DIR/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "/usr/sbin/runc"
        SystemdCgroup = false
`)
	k.write(t, "kubelet.yaml", `
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://DIR/c.sock
failCgroupV1: false
cgroupDriver: cgroupfs
failSwapOn: false
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
address: `+NodeAddress+`
healthzBindAddress: 127.0.0.1
localStorageCapacityIsolation: false
oomScoreAdj: 0
enforceNodeAllocatable: []
evictionHard: {memory.available: "1Mi", nodefs.available: "0%", imagefs.available: "0%"}
`)
	bin := filepath.Dir(Tool(t, "containerd"))
	c.Start(t, "containerd", "env", "PATH="+bin+":"+os.Getenv("PATH"), Tool(t, "containerd"), "-c", filepath.Join(dir, "containerd.toml"))
	Eventually(t, time.Minute, "containerd answers", func() error { _, err := k.ctr(t, "version"); return err })
	k.Image(t, "pause", map[string]string{"/pause": pause}, "/pause")
	c.Start(t, "kubelet", Tool(t, "kubelet"), "--config="+filepath.Join(dir, "kubelet.yaml"), "--kubeconfig="+c.Kubeconfig,
		"--hostname-override=real", "--node-ip="+NodeAddress, "--root-dir="+filepath.Join(dir, "kubelet"), "--v=2")
	c.Await(t, "True", "get", "node", "real", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
	return k
}

// Await waits until kubectl's output contains what is wanted.
func (c *Cluster) Await(t testing.TB, want string, args ...string) {
	t.Helper()
	Eventually(t, 2*time.Minute, "kubectl "+strings.Join(args, " ")+" says "+want, func() error {
		out, err := c.TryRun(Tool(t, "kubectl"), args...)
		if err != nil || !strings.Contains(out, want) {
			return errors.Join(err, fmt.Errorf("it says %q", out))
		}
		return nil
	})
}

func (k *Kubelet) write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(k.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", k.dir)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (k *Kubelet) ctr(t testing.TB, args ...string) (string, error) {
	out, err := exec.Command(Tool(t, "ctr"), append([]string{"-a", k.socket, "-n", "k8s.io"}, args...)...).CombinedOutput()
	return string(out), err
}

// Image makes localhost/NAME:1 out of programs on this machine, by their places in the image.
func (k *Kubelet) Image(t testing.TB, name string, programs map[string]string, entrypoint ...string) {
	t.Helper()
	layer := new(bytes.Buffer)
	pack := tar.NewWriter(layer)
	pack.WriteHeader(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777})
	for place, program := range programs {
		content, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		pack.WriteHeader(&tar.Header{Name: strings.TrimPrefix(place, "/"), Mode: 0o755, Size: int64(len(content))})
		pack.Write(content)
	}
	pack.Close()
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	config, _ := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "config": map[string]any{"Entrypoint": entrypoint},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + sum(layer.Bytes())}}})
	manifest, _ := json.Marshal([]any{map[string]any{"Config": sum(config) + ".json", "RepoTags": []string{"localhost/" + name + ":1"}, "Layers": []string{"layer.tar"}}})
	image := new(bytes.Buffer)
	pack = tar.NewWriter(image)
	for _, f := range []struct {
		name    string
		content []byte
	}{{sum(config) + ".json", config}, {"layer.tar", layer.Bytes()}, {"manifest.json", manifest}} {
		pack.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content))})
		pack.Write(f.content)
	}
	pack.Close()
	file := filepath.Join(k.dir, name+".tar")
	if err := os.WriteFile(file, image.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := k.ctr(t, "images", "import", "--local", "--snapshotter", "native", file); err != nil {
		t.Fatalf("the image %s: %v\n%s", name, err, out)
	}
}

// stop deletes the pods first, so that what holds their mounts goes with them.
func (k *Kubelet) stop(t testing.TB) {
	k.cluster.TryRun(Tool(t, "kubectl"), "delete", "pod", "--all", "-A", "--grace-period=1", "--timeout=30s")
	out, _ := k.ctr(t, "task", "ls", "-q")
	for task := range strings.FieldsSeq(out) {
		k.ctr(t, "task", "rm", "-f", task)
	}
	if mounts, err := os.ReadFile("/proc/mounts"); err == nil {
		for line := range strings.Lines(string(mounts)) {
			if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], k.dir+"/") {
				defer exec.Command("umount", "-l", fields[1]).Run()
			}
		}
	}
	exec.Command("pkill", "-KILL", "-f", "containerd-shim-runc-v2.*"+k.socket).Run()
	t.Cleanup(func() { os.RemoveAll(k.dir) })
}
