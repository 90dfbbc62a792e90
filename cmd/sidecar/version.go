package main

import (
	"context"
	"encoding/json"
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

// reference prints the options as docs/OPTIONS.md has them, or as injector/options.json does.
func reference(_ context.Context, p process, args []string) error {
	page := referencePage
	if len(args) == 1 && args[0] == "--json" {
		page = referenceJSON
	}
	_, err := fmt.Fprint(p.stdout, page())
	return err
}

// referenceJSON is for programs that pass options on, such as the injector: a line an option.
func referenceJSON() string {
	type line struct {
		Flag    string   `json:"flag"`
		Arg     string   `json:"arg,omitempty"`
		Many    bool     `json:"many,omitempty"`
		Allowed []string `json:"allowed,omitempty"`
		Usage   string   `json:"usage"`
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	for _, o := range newConfig().options() {
		encoder.Encode(line{o.flag, o.arg, o.value.many(), o.value.allowed(), o.usage})
	}
	return b.String()
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
