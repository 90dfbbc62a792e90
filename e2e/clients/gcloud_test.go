//go:build e2e

package clients

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// gcloud makes commands that speak to the stand-in at addr, with a
// configuration of their own and no account.
func gcloud(t *testing.T, addr string) func(args ...string) *exec.Cmd {
	t.Helper()
	path := tool(t, "gcloud", "install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install")
	env := append(os.Environ(),
		"CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING=http://"+addr+"/",
		"CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true",
		"CLOUDSDK_CORE_PROJECT="+project,
		"CLOUDSDK_CORE_DISABLE_PROMPTS=1",
		"CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=true",
		"CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=true",
		"CLOUDSDK_CONFIG="+t.TempDir(),
	)
	return func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Env = env
		return cmd
	}
}

// messages reads what the entries of a JSON listing say.
func messages(t *testing.T, listing string) []string {
	t.Helper()
	var entries []struct {
		TextPayload string
		JSONPayload struct{ Message string }
	}
	if err := json.Unmarshal([]byte(listing), &entries); err != nil {
		t.Fatalf("%v in %s", err, listing)
	}
	said := []string{}
	for _, e := range entries {
		said = append(said, e.TextPayload+e.JSONPayload.Message)
	}
	return said
}

func TestGcloudWritesReadsListsAndDeletes(t *testing.T) {
	_, addr := start(t)
	cmd := gcloud(t, addr)
	run(t, cmd("logging", "write", "app", "plain words", "--severity=ERROR"))
	run(t, cmd("logging", "write", "app", `{"message":"with fields","code":503}`, "--payload-type=json", "--severity=CRITICAL"))
	run(t, cmd("logging", "write", "app", "of no interest", "--severity=INFO"))
	run(t, cmd("logging", "write", "other", "in another log", "--severity=ERROR"))

	read := func(args ...string) []string {
		t.Helper()
		return messages(t, run(t, cmd(append([]string{"logging", "read", "--format=json"}, args...)...)))
	}
	if diff := cmp.Diff([]string{"with fields", "plain words"}, read(`log_id("app") AND severity>=ERROR`)); diff != "" {
		t.Errorf("newest first: %s", diff)
	}
	if diff := cmp.Diff([]string{"plain words", "with fields"}, read(`log_id("app") AND severity>=ERROR`, "--order=asc")); diff != "" {
		t.Errorf("oldest first: %s", diff)
	}
	if diff := cmp.Diff([]string{"with fields"}, read(`jsonPayload.code=503`, "--limit=1")); diff != "" {
		t.Errorf("by a payload's field: %s", diff)
	}

	logs := strings.Fields(run(t, cmd("logging", "logs", "list", "--format=value(.)")))
	slices.Sort(logs)
	if diff := cmp.Diff([]string{"projects/" + project + "/logs/app", "projects/" + project + "/logs/other"}, logs); diff != "" {
		t.Errorf("logs: %s", diff)
	}
	run(t, cmd("logging", "logs", "delete", "other", "--quiet"))
	if diff := cmp.Diff([]string{}, read(`log_id("other")`)); diff != "" {
		t.Errorf("after the delete: %s", diff)
	}
}

func TestGcloudListsTheKindsOfResources(t *testing.T) {
	_, addr := start(t)
	types := strings.Fields(run(t, gcloud(t, addr)("logging", "resource-descriptors", "list", "--format=value(type)")))
	if !slices.Contains(types, "k8s_container") || !slices.Contains(types, "global") {
		t.Errorf("types: %v", types)
	}
}

func TestGcloudShowsWhatIsWrongWithAFilter(t *testing.T) {
	_, addr := start(t)
	for filter, want := range map[string]string{
		`severity >=`:  "INVALID_ARGUMENT: Unparseable filter: syntax error at line 1",
		`nonsense="x"`: "INVALID_ARGUMENT: Field not found: 'nonsense'.",
	} {
		out, err := gcloud(t, addr)("logging", "read", filter).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %s", filter, err, out)
		}
	}
}

func TestGcloudReadsMoreThanOnePage(t *testing.T) {
	server, addr := start(t)
	fill(t, server, addr, 2300)
	listing := run(t, gcloud(t, addr)("logging", "read", "severity>=ERROR", "--format=value(insertId)", "--limit=5000"))
	ids := strings.Fields(listing)
	if len(ids) != 2300 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 2300 {
		t.Errorf("read %d ids", len(ids))
	}
}
