//go:build e2e

package kube

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"

	"github.com/openreplay/log-sidecar/e2e/kube/cluster"
)

// TestPodSecurity asks the API server which way of the sidecar each level of Pod Security admits, beside an app that the
// level admits itself. docs/INSTALL.md has the table.
func TestPodSecurity(t *testing.T) {
	c := newCluster(t)
	c.RunPods(t, program(), system, injector)
	install(t, c, "helm3")
	levels := []string{"privileged", "baseline", "restricted"}
	for _, level := range levels {
		c.Namespace(t, level, "pod-security.kubernetes.io/enforce: "+level)
	}
	for _, way := range []struct {
		name, annotations string
		highest           string // the strictest level that admits it
	}{
		{"plain", "", "restricted"},
		{"ordinary container", `"openreplay-sidecar/native-sidecar":"false"`, "restricted"},
		{"log files", `"openreplay-sidecar/logs":"/var/log/shop/*.log"`, "restricted"},
		{"sidecar exec", `"openreplay-sidecar/stdout":"exec"`, "restricted"},
		{"another port by a variable", `"openreplay-sidecar/app-port-env":"PORT"`, "restricted"},
		{"TLS", `"openreplay-sidecar/tls-secret":"tls","openreplay-sidecar/app-server-name":"shop"`, "restricted"},
		{"a key for Google", `"openreplay-sidecar/google-secret":"key"`, "restricted"},
		{"federation with Google", `"openreplay-sidecar/google-federation":"google","openreplay-sidecar/google-audience":"a"`, "restricted"},
		{"the node's logs", `"openreplay-sidecar/stdout":"node"`, "privileged"},
		{"redirect", `"openreplay-sidecar/traffic":"redirect"`, "privileged"},
	} {
		pod := fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"shop","labels":{"openreplay-sidecar/inject":"true"},"annotations":{%s}},
			"spec":{"securityContext":{"runAsNonRoot":true,"runAsUser":1000,"seccompProfile":{"type":"RuntimeDefault"}},
			"containers":[{"name":"app","image":"shop:1","command":["shop"],"ports":[{"name":"http","containerPort":8080}],
			"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}}`, way.annotations)
		admitted := true
		for _, level := range levels {
			made, err := dryRun(c, level, []byte(pod))
			switch {
			case admitted && err != nil:
				t.Errorf("%s is refused at the level %s: %v", way.name, level, err)
			case admitted && len(made.Spec.InitContainers)+len(made.Spec.Containers) < 2:
				t.Errorf("%s at the level %s: the pod has no sidecar", way.name, level)
			case !admitted && err == nil:
				t.Errorf("%s is admitted at the level %s: the table in docs/INSTALL.md can be better", way.name, level)
			}
			admitted = admitted && level != way.highest
		}
	}
}

// TestGoldensAreValid: what the injector makes of each Pod of its testdata is a Pod to the API server.
func TestGoldensAreValid(t *testing.T) {
	c := newCluster(t)
	c.Namespace(t, "goldens")
	paths, err := filepath.Glob(filepath.Join(cluster.Root(), "injector/testdata/*.txtar"))
	if err != nil || len(paths) < 60 {
		t.Fatalf("%d golden pods, %v", len(paths), err)
	}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, after := section(archive, "pod.yaml"), section(archive, "want.yaml")
		if after == nil {
			continue
		}
		// Some of the Pods are of no cluster: then it is the app's own fault that is refused, and no other.
		_, was := dryRun(c, "goldens", toPod(t, before))
		_, is := dryRun(c, "goldens", toPod(t, after))
		if was == nil && is != nil {
			t.Errorf("%s: %v", filepath.Base(path), is)
		}
		if was != nil {
			t.Logf("%s is refused as it is: %v", filepath.Base(path), was)
		}
	}
}

func section(archive *txtar.Archive, name string) []byte {
	for _, f := range archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func toPod(t testing.TB, text []byte) []byte {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestManifestsOfAllKinds: what `injector inject` writes is what the API server takes, comments and all.
func TestManifestsOfAllKinds(t *testing.T) {
	c := newCluster(t)
	c.Namespace(t, "apps")
	in, err := os.ReadFile(filepath.Join(cluster.Root(), "injector/manifest/testdata/kinds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := pipe(string(in), program(), "inject", "-f", filepath.Join(cluster.Root(), "injector/manifest/testdata/kinds.yaml"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, manifests, _ := strings.Cut(out, "apiVersion")
	c.Apply(t, "apps", "apiVersion"+manifests, "--dry-run=server", "--validate=strict")
}
