package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// build is set by the linker in releases.
var build = "dev"

func versionText() string {
	commit := "unknown commit"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	return fmt.Sprintf("%s (%s, %s)", build, commit, runtime.Version())
}

func version(_ context.Context, p process, _ []string) error {
	_, err := fmt.Fprintln(p.stdout, "sidecar", versionText())
	return err
}

// reference prints the options as docs/OPTIONS.md has them.
func reference(_ context.Context, p process, _ []string) error {
	_, err := fmt.Fprint(p.stdout, referencePage())
	return err
}

func referencePage() string {
	var b strings.Builder
	b.WriteString("# Options of `sidecar run` and `sidecar check`\n\nMade by `sidecar options`. Order: flag, environment, file, default. Durations as `20s`, sizes as `64MiB`.\n" +
		"An option that may be repeated stands comma-separated in the environment and as a list in the file.\n\n" +
		"| flag | in the file | environment | default | |\n|---|---|---|---|---|\n")
	for _, o := range newConfig().options() {
		flag := strings.TrimSpace("--" + o.flag + " " + o.arg)
		usage := o.usage
		if o.value.many() {
			usage += " (may be repeated)"
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s | %s |\n", flag, code(o.yaml), o.environment(), code(o.value.text()), usage)
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
