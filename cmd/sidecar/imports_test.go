package main

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/openreplay/log-sidecar/"

// mayKnow says which of our packages a package may import, directly or through others. What is not listed here may know
// everyone: cmd and the tests' own packages.
var mayKnow = map[string][]string{
	"enrich/tail":            nil,
	"enrich/record":          nil,
	"session":                {"internal/mapped"},
	"session/shared":         {"session", "internal/mapped"},
	"forwarder/journal":      nil,
	"internal/admin":         nil,
	"internal/keypair":       nil,
	"bridge":                 {"session", "internal/mapped"},
	"internal/localcloud":    {"internal/localcloud/lql"},
	"enrich":                 {"enrich/tail", "enrich/record"},
	"tracker":                nil,
	"internal/mapped":        nil,
	"enrich/table":           {"enrich", "enrich/tail", "enrich/record", "session", "internal/mapped"},
	"proxy":                  {"internal/keypair", "tracker", "enrich", "enrich/tail", "enrich/record", "session", "internal/mapped"},
	"forwarder":              {"enrich", "enrich/tail", "enrich/record", "session", "internal/mapped", "forwarder/journal"},
	"forwarder/cloudlogging": {"forwarder", "enrich", "enrich/tail", "enrich/record", "session", "internal/mapped", "forwarder/journal"},
}

func TestWhoKnowsWhom(t *testing.T) {
	for name, known := range mayKnow {
		allowed := map[string]bool{name: true}
		for _, k := range known {
			allowed[k] = true
		}
		for _, dep := range deps(t, module+name) {
			if ours, ok := strings.CutPrefix(dep, module); ok && !allowed[ours] {
				t.Errorf("%s imports %s", name, ours)
			}
		}
	}
}

// TestNoKubernetes: the sidecar's size is paid in every pod.
func TestNoKubernetes(t *testing.T) {
	for _, dep := range deps(t, module+"cmd/sidecar") {
		if strings.HasPrefix(dep, "k8s.io/") || strings.HasPrefix(dep, "sigs.k8s.io/") {
			t.Errorf("cmd/sidecar imports %s", dep)
		}
	}
}

func deps(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", pkg).CombinedOutput()
	if err != nil {
		t.Fatalf("go list -deps %s: %v\n%s", pkg, err, out)
	}
	return strings.Fields(string(out))
}
