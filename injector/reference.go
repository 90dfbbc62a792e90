package injector

import (
	"fmt"
	"slices"
	"strings"
)

// Reference is the page of all annotations.
func Reference() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Annotations\n\nMade by `injector settings`. They stand on the pod template and begin with `%s`.\n\n| annotation | |\n|---|---|\n", Prefix)
	fmt.Fprintf(&b, "| `inject` | `\"true\"` or `\"false\"`; as a label it comes before the annotation, and on a namespace it is a label |\n")
	for _, s := range own {
		fmt.Fprintf(&b, "| `%s` | %s |\n", s.key, s.usage)
	}
	b.WriteString("\nEvery option of `sidecar run` is one too, by its flag's name. One that may be repeated stands on several lines, or with commas between\n" +
		"(patterns, which may have commas, on lines alone):\n\n| annotation | |\n|---|---|\n")
	for line := range strings.Lines(optionsJSON) {
		o := parseOption(line)
		if !slices.Contains(ours, o.Flag) {
			fmt.Fprintf(&b, "| `%s` | %s |\n", o.Flag, o.Usage)
		}
	}
	return b.String()
}
