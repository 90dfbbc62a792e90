package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func configFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sidecar.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOrderOfSources(t *testing.T) {
	path := configFile(t, "listen: :1\napp: http://127.0.0.1:1\ndrain: 1s\nlogs: [/a, /b]\nsession:\n  headers: X-One\ncloudLogging:\n  pace: 7\n")
	c, _, err := load(
		[]string{"--config", path, "--drain=3s", "--logs", "/c", "--logs", "/d", "--forwarded-for"},
		[]string{"OPENREPLAY_SIDECAR_DRAIN=2s", "OPENREPLAY_SIDECAR_APP=http://127.0.0.1:2", "OPENREPLAY_SIDECAR_SESSION_HEADER=A,B"})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Listen, c.App, c.Drain, c.Logs, c.SessionHeaders, c.Pace, c.ForwardedFor, c.Health}
	want := []any{":1", "http://127.0.0.1:2", 3 * time.Second, []string{"/c", "/d"}, []string{"A", "B"}, 7, true, ":9094"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("file, environment, flags (-want +got):\n%s", diff)
	}
}

func TestPorts(t *testing.T) {
	path := configFile(t, "ports:\n- {listen: :1, app: http://127.0.0.1:3}\n- listen: :2\n  app: unix:/run/app\n")
	c, _, err := load([]string{"--config", path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []port{{":1", "http://127.0.0.1:3"}, {":2", "unix:/run/app"}}
	if diff := cmp.Diff(want, c.Ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

// TestMistakes: each is said with the thing's name and the way out, and all of them at once.
func TestMistakes(t *testing.T) {
	tests := []struct {
		name string
		args []string
		file string
		want []string
	}{
		{"an unknown flag", []string{"--drian", "1s"}, "", []string{"unknown option --drian", "did you mean --drain?"}},
		{"no value", []string{"--app"}, "", []string{"--app needs a value: --app URL"}},
		{"a word", []string{"logs"}, "", []string{`"logs" is not an option`}},
		{"an unknown key", nil, "listen: :1\nclodLogging:\n  pace: 1\n", []string{"sidecar.yaml:2", `unknown key "clodLogging"`}},
		{"an unknown inner key", nil, "cloudLogging:\n  pase: 1\n", []string{"sidecar.yaml:2", "did you mean cloudLogging.pace?"}},
		{"a bad value in the file", nil, "drain: fast\n", []string{"sidecar.yaml:1", "drain", `"fast" is not a duration such as 20s`}},
		{"broken YAML", nil, "listen: [\n", []string{"sidecar.yaml"}},
		{"no URL", []string{"--app", "127.0.0.1:80"}, "", []string{"app:", "http://127.0.0.1:8081"}},
		{"a URL with a path", []string{"--app", "http://127.0.0.1/x"}, "", []string{"has a path"}},
		{"a port without an app", nil, "ports: [{listen: :1}]\n", []string{"app:"}},
		{"a log name with a path", []string{"--log-name", "projects/p/logs/x"}, "", []string{"logName", "plain ID"}},
		{"a bad pattern", []string{"--ignore", "("}, "", []string{"--ignore"}},
		{"all at once", []string{"--drain", "x", "--from", "y", "--app", "z", "--tls-cert", "c"}, "",
			[]string{"--drain", "--from", "auto, beginning, end", "app:", "tls:"}},
	}
	for _, test := range tests {
		args := test.args
		if test.file != "" {
			args = append(args, "--config", configFile(t, test.file))
		}
		_, _, err := load(args, nil)
		if err == nil {
			t.Errorf("%s: no error", test.name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error lacks %q:\n%v", test.name, want, err)
			}
		}
	}
}

// TestEnvironmentOfAPod: Kubernetes puts a Service's address into every pod of the namespace. A Service that is called as
// this product is must not keep a pod from starting.
func TestEnvironmentOfAPod(t *testing.T) {
	_, warnings, err := load(nil, []string{
		"OPENREPLAY_SIDECAR_SERVICE_HOST=10.0.0.1", "OPENREPLAY_SIDECAR_SERVICE_PORT=443", "OPENREPLAY_SIDECAR_PORT=tcp://10.0.0.1:443",
		"OPENREPLAY_SIDECAR_PORT_443_TCP=tcp://10.0.0.1:443", "OPENREPLAY_SIDECAR_PORT_443_TCP_ADDR=10.0.0.1",
		"OPENREPLAY_SIDECAR_SERVICE_PORT_HTTPS=443", "OPENREPLAY_SIDECAR_INJECTOR_SERVICE_HOST=10.0.0.2",
		"OPENREPLAY_SIDECAR_INJECTOR_PORT_443_TCP_PROTO=tcp",
		"OPENREPLAY_SIDECAR_DRIAN=1s", "PATH=/bin",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "OPENREPLAY_SIDECAR_DRAIN?") {
		t.Errorf("warnings = %q, want one, of DRIAN, that names DRAIN", warnings)
	}
}

func TestReferencePagesAreUpToDate(t *testing.T) {
	for path, want := range map[string]string{"docs/OPTIONS.md": referencePage(), "injector/options.json": referenceJSON()} {
		page, err := os.ReadFile("../../" + path)
		if err != nil {
			t.Fatal(err)
		}
		if string(page) != want {
			t.Errorf("%s is old: run make docs", path)
		}
	}
}

func FuzzConfigFile(f *testing.F) {
	f.Add("ports: [{listen: :1}]\nlogs:\n- a\n- &x b\n- *x\n? {a: b}\n: |\n  text\n")
	f.Fuzz(func(t *testing.T, content string) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		readFile(newConfig().options(), path)
	})
}
