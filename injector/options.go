package injector

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// optionsJSON has the sidecar's options, a line each, written by `make docs` out of their one definition.
//
//go:embed options.json
var optionsJSON string

// An option is one of the sidecar's.
type option struct {
	Flag, Arg string
	Many      bool
	Allowed   []string
	Usage     string
}

var options = func() map[string]option {
	out := map[string]option{}
	for line := range strings.Lines(optionsJSON) {
		o := parseOption(line)
		out[o.Flag] = o
	}
	return out
}()

func parseOption(line string) (o option) {
	if err := json.Unmarshal([]byte(line), &o); err != nil {
		panic(err) // it is part of the program, and tests read it
	}
	return o
}

// ours are the options whose values belong to what the injector mounts and names.
var ours = []string{"config", "state", "table", "tls-cert", "tls-key", "record-exchanges", "k8s-namespace", "k8s-pod", "k8s-container", "keep-client-address"}

// values splits what stands in an annotation: by lines where there are several, else by commas, which patterns may hold.
func (o option) values(text string) (out []string) {
	separator := "\n"
	if !strings.Contains(text, "\n") && o.Arg != "PATTERN" {
		separator = ","
	}
	if !o.Many {
		return []string{strings.TrimSpace(text)}
	}
	for _, v := range strings.Split(text, separator) {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// check refuses what the sidecar would not start with: a sidecar that does not start holds its app back. It may refuse
// more than the sidecar does, and never less.
func (o option) check(v string) error {
	bad := func(what string) error { return fmt.Errorf("%s is %q, and should be %s", o.Flag, v, what) }
	if o.Allowed != nil && !slices.Contains(o.Allowed, v) {
		return bad("one of " + strings.Join(o.Allowed, ", "))
	}
	switch o.Arg {
	case "PATTERN":
		if _, err := regexp.Compile(v); err != nil || len(v) > 1000 {
			return bad("an RE2 pattern of 1000 bytes at most")
		}
	case "N":
		if n, err := strconv.Atoi(v); err != nil || n < 0 {
			return bad("a whole number from 0 on")
		}
	case "DURATION":
		if d, err := time.ParseDuration(v); err != nil || d < 0 {
			return bad("a duration such as 20s")
		}
	case "SIZE":
		if mebibytes(v) == 0 {
			return bad("a size such as 64MiB")
		}
	case "ADDR":
		if _, err := portOf(v); err != nil {
			return bad("an address such as :8080")
		}
	case "URL":
		if o.Flag == "app" && !isApp(v) {
			return bad("like http://127.0.0.1:8081")
		}
	case "LISTEN=URL":
		listen, app, _ := strings.Cut(v, "=")
		if _, err := portOf(listen); err != nil || !isApp(app) {
			return bad("like :8080=http://127.0.0.1:8081")
		}
	}
	if o.Flag == "log-name" && (v == "" || strings.ContainsAny(v, "/ \t")) {
		return bad("a plain ID, without projects/... in front")
	}
	return nil
}

// checkOptions refuses sets that do not go together.
func checkOptions(set map[string][]string) error {
	has := func(flag string) bool { return len(set[flag]) > 0 && set[flag][0] != "" }
	is := func(flag, value string) bool { return has(flag) && set[flag][0] == value }
	for _, flag := range slices.Sorted(maps.Keys(set)) {
		for _, v := range set[flag] {
			if err := options[flag].check(v); err != nil {
				return err
			}
		}
	}
	switch {
	case has("openreplay-url") != has("openreplay-project"):
		return fmt.Errorf("the link to the replay needs both openreplay-url and openreplay-project")
	case is("plaintext", "true") && !has("endpoint"):
		return fmt.Errorf("plaintext is for the stand-in: set endpoint too")
	case is("plaintext", "true") && !has("project"):
		return fmt.Errorf("without credentials nothing tells the project: set project")
	case set["session-header"] != nil && !has("session-header"):
		return fmt.Errorf("session-header has no name in it")
	}
	return nil
}

// CheckOptions says whether the sidecar would start with these options, as annotations give them.
func CheckOptions(annotated map[string]string) error {
	set := map[string][]string{}
	for flag, text := range annotated {
		set[flag] = options[flag].values(text)
	}
	return checkOptions(set)
}

func isApp(v string) bool {
	u, err := url.Parse(v)
	switch {
	case err != nil:
		return false
	case u.Scheme == "unix":
		return u.Path != "" || u.Opaque != ""
	}
	return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && (u.Path == "" || u.Path == "/") && u.RawQuery == ""
}

func portOf(addr string) (int, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return int(n), err
}

var sizeShape = regexp.MustCompile(`^([0-9]{1,9})(GiB|MiB|KiB|B)$`)

// mebibytes reads the sidecar's sizes, rounded up; 0 is none.
func mebibytes(size string) int {
	m := sizeShape.FindStringSubmatch(size)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	bytes := n * map[string]int{"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}[m[2]]
	return (bytes + 1<<20 - 1) >> 20
}
