package manifest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/openreplay/log-sidecar/injector"
	"github.com/openreplay/log-sidecar/injector/manifest"
)

func inject(t *testing.T, in string) (string, []manifest.Line) {
	t.Helper()
	out, report, err := manifest.Inject([]byte(in), injector.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	return string(out), report
}

func kinds(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("testdata/kinds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func said(report []manifest.Line) string {
	var b strings.Builder
	for _, l := range report {
		fmt.Fprintf(&b, "%s %v\n", l.Object, l.Done)
		for _, w := range l.Warnings {
			fmt.Fprintf(&b, "  %s\n", w)
		}
	}
	return b.String()
}

func TestEveryKindThatHasPods(t *testing.T) {
	out, report := inject(t, kinds(t))
	want := `deployment/shop true
  service/shop goes to port 8080 by its number, past the sidecar: let its targetPort be "http"
statefulset/cart true
cronjob/report true
pod/one true
daemonset/host false
`
	if diff := cmp.Diff(want, said(report)); diff != "" {
		t.Errorf("the report (-want +got):\n%s", diff)
	}
	if n := strings.Count(out, "name: openreplay-sidecar\n"); n != 4 {
		t.Errorf("%d sidecars, not 4:\n%s", n, out)
	}
}

// TestWhatIsLeftAlone: other objects byte for byte, and around a sidecar the comments, the order and the way of indenting.
func TestWhatIsLeftAlone(t *testing.T) {
	in := kinds(t)
	out, _ := inject(t, in)
	for _, part := range []string{
		in[:strings.Index(in, "---")], in[strings.LastIndex(in, "---"):],
		"\n# The shop.\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: shop\n", "      # the only one\n      - name: app\n        image: shop:1 # pinned\n",
		"--- # a separator with a comment\n", "      containers:\n        - name: app\n          image: cart:1\n",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("this is not there any more:\n%s", part)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestThereAndBack(t *testing.T) {
	in := kinds(t)
	out, _ := inject(t, in)
	again, report := inject(t, out)
	if again != out {
		t.Errorf("twice is not once:\n%s", cmp.Diff(out, again))
	}
	for _, l := range report {
		if l.Done {
			t.Errorf("%s was injected twice", l.Object)
		}
	}
	back, _, err := manifest.Uninject([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(documents(t, in), documents(t, string(back))); diff != "" {
		t.Errorf("out and in again (-before +after):\n%s", diff)
	}
}

func documents(t *testing.T, text string) (out []any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc any
		if err := decoder.Decode(&doc); err != nil {
			return out
		}
		out = append(out, doc)
	}
}

// TestWhatIsSharedIsNotChangedTwice: an anchor stands for several containers, of which one changes.
func TestWhatIsSharedIsNotChangedTwice(t *testing.T) {
	out, _ := inject(t, `
apiVersion: v1
kind: Pod
metadata: {name: shop, annotations: {openreplay-sidecar/logs: /l/x, openreplay-sidecar/inject: "true"}}
spec:
  containers:
  - &app
    name: app
    image: shop:1
    volumeMounts: [{name: data, mountPath: /data}]
    ports: [{name: http, containerPort: 8080}]
  - <<: *app
    name: second
    ports: []
  volumes: [{name: data, emptyDir: {}}]
`)
	var pod struct {
		Spec struct {
			Containers []struct {
				Name         string
				VolumeMounts []any `yaml:"volumeMounts"`
			}
		}
	}
	if err := yaml.Unmarshal([]byte(out), &pod); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{2, 1} {
		if got := len(pod.Spec.Containers[i].VolumeMounts); got != want {
			t.Errorf("%s has %d mounts, not %d:\n%s", pod.Spec.Containers[i].Name, got, want, out)
		}
	}
}

func TestJSONStaysJSON(t *testing.T) {
	out, _ := inject(t, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"shop"},"spec":{"containers":[{"name":"app","ports":[{"name":"http","containerPort":8080}],"image":"a"}]}}`)
	var doc map[string]any
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.HasPrefix(out, "{\n  \"kind\": \"Pod\",\n  \"apiVersion\"") {
		t.Errorf("the order of the keys is another one:\n%s", out)
	}
}

func TestNotYAML(t *testing.T) {
	if _, _, err := manifest.Inject([]byte("kind: Pod\n---\n{{ template }}\n"), injector.Builtin()); err == nil || !strings.Contains(err.Error(), "document 2") {
		t.Errorf("the error is %v, and should name the document", err)
	}
}

func FuzzInject(f *testing.F) {
	b, err := os.ReadFile("testdata/kinds.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add("a: &a [*a]\n")
	f.Fuzz(func(t *testing.T, in string) {
		out, _, err := manifest.Inject([]byte(in), injector.Builtin())
		if err != nil {
			return
		}
		if _, _, err := manifest.Uninject(out); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, out)
		}
	})
}
