package injector_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/openreplay/log-sidecar/injector"
)

var update = flag.Bool("update", false, "write what comes out into testdata")

// A golden is one file of testdata: a Pod, what comes out, and what is said.
type golden struct {
	path     string
	archive  *txtar.Archive
	pod      []byte // JSON
	defaults injector.Defaults
	asked    bool
}

func goldens(t testing.TB) (out []golden) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) < 60 {
		t.Fatalf("testdata has %d files (%v), and had 60 and more", len(paths), err)
	}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		g := golden{path: path, archive: archive, defaults: injector.Builtin()}
		g.defaults.Image, g.defaults.Version = "sidecar:1", "1.2.3"
		g.asked = strings.Contains(string(archive.Comment), "The namespace asks.")
		if text := g.section("defaults.yaml"); text != "" {
			if err := json.Unmarshal(toJSON(t, []byte(text)), &g.defaults); err != nil {
				t.Fatal(err)
			}
		}
		g.pod = toJSON(t, []byte(g.section("pod.yaml")))
		out = append(out, g)
	}
	return out
}

func (g *golden) section(name string) string {
	for _, f := range g.archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func toJSON(t testing.TB, text []byte) []byte {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// patched gives what the API server makes of a Pod and a patch.
func patched(t interface{ Fatalf(string, ...any) }, pod []byte, patch injector.Patch) []byte {
	var doc any
	if err := json.Unmarshal(pod, &doc); err != nil {
		t.Fatalf("%v", err)
	}
	doc, err := patch.Apply(doc)
	if err != nil {
		t.Fatalf("apply %v: %v", patch, err)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return b
}

func toYAML(t testing.TB, raw []byte) string {
	t.Helper()
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	if err := encoder.Encode(doc); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func reportOf(r injector.Result) string {
	var b strings.Builder
	if r.Patch == nil {
		fmt.Fprintf(&b, "not injected (%s): %s\n", r.Reason, r.Text)
	} else {
		fmt.Fprintf(&b, "injected, in front of %s\n", r.Container)
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	return b.String()
}

// TestGoldenPods: each file says in its first lines what it shows. `go test ./injector -update` writes the rest anew.
func TestGoldenPods(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(strings.TrimSuffix(filepath.Base(g.path), ".txtar"), func(t *testing.T) {
			r := injector.Inject(g.pod, g.defaults, g.asked)
			got := map[string]string{"report": reportOf(r), "want.yaml": ""}
			if r.Patch != nil {
				got["want.yaml"] = toYAML(t, patched(t, g.pod, r.Patch))
			}
			if *update {
				g.archive.Files = slices.DeleteFunc(g.archive.Files, func(f txtar.File) bool { return f.Name == "report" || f.Name == "want.yaml" })
				for _, name := range []string{"report", "want.yaml"} {
					if got[name] != "" {
						g.archive.Files = append(g.archive.Files, txtar.File{Name: name, Data: []byte(got[name])})
					}
				}
				if err := os.WriteFile(g.path, txtar.Format(g.archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, name := range []string{"report", "want.yaml"} {
				if diff := cmp.Diff(g.section(name), got[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

// TestGoldensHoldTheLaws: twice is once, and out again is as before.
func TestGoldensHoldTheLaws(t *testing.T) {
	for _, g := range goldens(t) {
		laws(t, g.pod, g.defaults, g.asked)
	}
}

type failer interface{ Fatalf(string, ...any) }

func laws(t failer, pod []byte, d injector.Defaults, asked bool) {
	first := injector.Inject(pod, d, asked)
	if first.Patch == nil {
		return
	}
	once := patched(t, pod, first.Patch)
	if second := injector.Inject(once, d, asked); second.Patch != nil || second.Reason != injector.AlreadyInjected {
		t.Fatalf("injected twice: %v %v\n%s", second.Reason, second.Patch, once)
	}
	patch, warnings, err := injector.Uninject(once)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("uninject: %v %v", err, warnings)
	}
	var want, got any
	json.Unmarshal(pod, &want)
	dropStatus(want) // one that was there without a sidecar proves nothing, and is not given back
	json.Unmarshal(patched(t, once, patch), &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("uninject(inject(pod)) (-pod +got):\n%s\n%s", diff, once)
	}
}

func dropStatus(pod any) {
	metadata, _ := pod.(map[string]any)["metadata"].(map[string]any)
	if annotations, ok := metadata["annotations"].(map[string]any); ok {
		delete(annotations, injector.StatusKey)
	}
}

// TestLaws puts together Pods of all that Pods may have, with fields of the future among it.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		laws(t, drawPod(t), injector.Builtin(), rapid.Bool().Draw(t, "asked"))
	})
}

func drawPod(t *rapid.T) []byte {
	maybe := func(m map[string]any, key string, value func() any) {
		switch rapid.IntRange(0, 3).Draw(t, key) {
		case 0:
			m[key] = value()
		case 1:
			m[key] = nil
		}
	}
	port := func(number, name string) func() any {
		return func() any {
			return rapid.SampledFrom([]any{8080, 9090, "http", "http-metrics", number, name}).Draw(t, "port")
		}
	}
	probe := func() any {
		way := rapid.SampledFrom([]string{"httpGet", "tcpSocket", "grpc"}).Draw(t, "way")
		return map[string]any{way: map[string]any{"port": port("x", "y")(), "future": true}}
	}
	container := func(name string) any {
		c := map[string]any{"name": name, "image": rapid.SampledFrom([]string{"shop:1", "nginx"}).Draw(t, "image"), "newField": map[string]any{"a": 1}}
		maybe(c, "ports", func() any {
			return []any{
				map[string]any{"name": "http", "containerPort": 8080, "new": 1}, map[string]any{"containerPort": 9090, "protocol": "TCP"},
			}[:rapid.IntRange(0, 2).Draw(t, "ports")]
		})
		maybe(c, "env", func() any { return []any{map[string]any{"name": "PORT", "value": "8080"}} })
		maybe(c, "volumeMounts", func() any {
			return []any{map[string]any{"name": "data", "mountPath": rapid.SampledFrom([]string{"/var/log/shop", "/data", "/"}).Draw(t, "mount")}}
		})
		maybe(c, "command", func() any { return []any{"java", "-jar", "shop.jar"} })
		for _, p := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
			maybe(c, p, probe)
		}
		maybe(c, "lifecycle", func() any { return map[string]any{"preStop": probe()} })
		maybe(c, "securityContext", func() any { return map[string]any{"runAsUser": 1000} })
		return c
	}
	annotations := map[string]any{}
	annotate := func(key string, values ...string) {
		if rapid.IntRange(0, 2).Draw(t, key) == 0 {
			annotations[injector.Prefix+key] = rapid.SampledFrom(values).Draw(t, key)
		}
	}
	annotate("inject", "true", "true", "false")
	annotate("app-port", "8080", "http,9090", "7000", "http")
	annotate("traffic", "name", "env", "redirect")
	annotate("app-port-env", "PORT", "PORT,OTHER")
	annotate("logs", "/var/log/shop/*.log", "/var/log/shop/*.log,/var/log/shop/old/x", "/data/a.log\n/opt/b/*/c.log")
	annotate("stdout", "exec", "node")
	annotate("command", `["/run.sh"]`)
	annotate("native-sidecar", "false")
	annotate("tls-secret", "shop-tls")
	annotate("app-server-name", "shop")
	annotate("google-secret", "key")
	metadata := map[string]any{"generateName": "shop-", "future": []any{1}}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	spec := map[string]any{"containers": []any{container("app"), container("other")}, "somethingNew": map[string]any{"deep": []any{nil, 1.5}}}
	maybe(spec, "initContainers", func() any { return []any{container("migrate")} })
	maybe(spec, "volumes", func() any { return []any{map[string]any{"name": "data", "emptyDir": map[string]any{}}} })
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// FuzzInject: whatever the bytes, there is an answer.
func FuzzInject(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.pod)
	}
	f.Fuzz(func(t *testing.T, pod []byte) {
		r := injector.Inject(pod, injector.Builtin(), true)
		if r.Patch == nil {
			return
		}
		var doc any
		if err := json.Unmarshal(pod, &doc); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Patch.Apply(doc); err != nil {
			t.Fatalf("the patch does not fit: %v", err)
		}
	})
}
