package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kubectlThat stands for kubectl before a cluster with one pod. What it runs in a container is what it prints.
func kubectlThat(t *testing.T, pod, events string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"pod.json": pod, "events.json": events, "kubectl": `#!/bin/sh
case "$*" in
*"get -o json pod"*) cat ` + dir + `/pod.json ;;
*"get -o json events"*) cat ` + dir + `/events.json ;;
*exec*) echo "inside: $*" ;;
*) echo "unknown: $*" >&2; exit 1 ;;
esac
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestDoctor(t *testing.T) {
	const with = `{"metadata":{"name":"shop-1","namespace":"apps"},"spec":{"initContainers":[{"name":"openreplay-sidecar","args":["run","--app=http://127.0.0.1:8080"]}]},
		"status":{"initContainerStatuses":[{"name":"openreplay-sidecar","restartCount":RESTARTS,"state":{STATE},"lastState":{"terminated":{"reason":"OOMKilled","exitCode":137}}}]}}`
	const without = `{"metadata":{"name":"shop-1","namespace":"apps","ownerReferences":[{"name":"shop-5d9"}]},"spec":{"containers":[{"name":"app"}]}}`
	const refused = `{"items":[{"message":"of another","involvedObject":{"name":"other-7c4"}},{"message":"the pod uses the node's network (host-network)","involvedObject":{"name":"shop-5d9"}}]}`
	state := func(restarts, state string) string {
		return strings.NewReplacer("RESTARTS", restarts, "STATE", state).Replace(with)
	}
	for _, c := range []struct {
		name, pod, events string
		exit              int
		want              []string
	}{
		{"all is well", state("0", `"running":{}`), "", 0, []string{"ok    sidecar        the pod has it", "ok    container      runs",
			"inside: --namespace apps exec shop-1 -c openreplay-sidecar -- /sidecar check --app=http://127.0.0.1:8080"}},
		{"it was killed", state("3", `"running":{}`), "", 0, []string{"warn  container      runs; restarted 3 times, the last time by OOMKilled (exit code 137)", "openreplay-sidecar/memory-limit", "inside:"}},
		{"it cannot start", state("0", `"waiting":{"reason":"ImagePullBackOff","message":"no such image"}`), "", 1, []string{"FAIL  container      waits: ImagePullBackOff no such image"}},
		{"the injector said no", without, refused, 1, []string{"FAIL  sidecar        the pod has none: the pod uses the node's network (host-network)"}},
		{"nobody asked", without, `{"items":[]}`, 1, []string{"no Event says why: does its template have the label openreplay-sidecar/inject=true?"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kubectlThat(t, c.pod, c.events)
			var out, said strings.Builder
			exit := start(t.Context(), process{"injector", nil, &out, &said}, []string{"doctor", "-n", "apps", "pod/shop-1"})
			if exit != c.exit {
				t.Errorf("exit code %d, want %d; %s", exit, c.exit, said.String())
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it does not say %q:\n%s%s", want, out.String(), said.String())
				}
			}
		})
	}
}
