//go:build e2e

// Package kube installs the chart in a real Kubernetes, with both Helms, and asks for the sidecar as users do.
package kube

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/e2e/kube/cluster"
)

const (
	chart    = "charts/openreplay-sidecar"
	system   = "openreplay"
	injector = "app.kubernetes.io/name=openreplay-sidecar-injector"
	ask      = "openreplay-sidecar/inject"
)

func TestMain(m *testing.M) { cluster.Main(m, "cmd/injector") }

// program is the injector.
func program() string { return cluster.Program("injector") }

// newCluster has fake nodes; the injector's pods run the real program.
func newCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	c := cluster.New(t)
	c.StartKwok(t, "openreplay-sidecar-injector")
	return c
}

// install installs the chart; set are Helm's --set.
func install(t *testing.T, c *cluster.Cluster, helm string, set ...string) string {
	t.Helper()
	return c.Run(t, cluster.Tool(t, helm), helmArgs("install", set)...)
}

func helmArgs(verb string, set []string) []string {
	args := []string{verb, "or", chart, "-n", system, "--create-namespace", "--wait", "--timeout", "180s"}
	if verb == "upgrade" {
		args = []string{verb, "or", chart, "-n", system, "--wait", "--timeout", "180s"}
	}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	return args
}

// A deployment of an app with one named port. template is more of the pod template's metadata.
func deployment(name, metadata, more string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: 2
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata:
      %[2]s
    spec:
      containers:
      - name: app
        image: %[1]s:1
        ports: [{name: http, containerPort: 8080}]
%[3]s`, name, metadata, more)
}

func asking(name string) string {
	return `labels: {app: ` + name + `, openreplay-sidecar/inject: "true"}`
}

// A podView is what tests look at.
type podView struct {
	Metadata struct {
		Name, UID   string
		Annotations map[string]string
	}
	Spec struct {
		InitContainers, Containers []struct {
			Name  string
			Image string
			Args  []string
			Ports []struct {
				Name          string
				ContainerPort int
			}
			VolumeMounts []struct{ Name, MountPath string }
		}
		Volumes []struct{ Name string }
	}
	Status struct{ Phase string }
}

func (p podView) sidecar() bool {
	return len(p.Spec.InitContainers) > 0 && p.Spec.InitContainers[0].Name == "openreplay-sidecar"
}

func pods(t testing.TB, c *cluster.Cluster, namespace, selector string) []podView {
	t.Helper()
	var list struct{ Items []podView }
	if err := c.Client.Get("/api/v1/namespaces/"+namespace+"/pods?labelSelector="+selector, &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func rolledOut(t *testing.T, c *cluster.Cluster, namespace, name string) {
	t.Helper()
	c.Kubectl(t, "rollout", "status", "-n", namespace, "deployment/"+name, "--timeout=180s")
}

func metrics(t testing.TB, c *cluster.Cluster, ip string) string {
	t.Helper()
	var text string
	if err := c.Client.Text("GET", "http://"+ip+":9094/metrics", &text); err != nil {
		t.Fatal(err)
	}
	return text
}

// dryRun asks the API server what a pod would become.
func dryRun(c *cluster.Cluster, namespace string, pod []byte) (podView, error) {
	var made podView
	err := c.Client.Create("/api/v1/namespaces/"+namespace+"/pods?dryRun=All", pod, &made)
	return made, err
}

const plainPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"load-","labels":{"openreplay-sidecar/inject":"true"}},
"spec":{"containers":[{"name":"app","image":"app:1","ports":[{"name":"http","containerPort":8080}]}]}}`

func eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	cluster.Eventually(t, 180*time.Second, what, try)
}

func contains(text string, parts ...string) error {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return fmt.Errorf("%q is missing in:\n%s", p, text)
		}
	}
	return nil
}

// pipe runs a program with a text as its input.
func pipe(in, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
