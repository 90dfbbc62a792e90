package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const envPrefix = "OPENREPLAY_SIDECAR_"

// usageError is a mistake in how the program was called; it ends with 2.
type usageError struct{ error }

// given is what one source says of one option.
type given struct {
	texts []string
	where string // for a message: "--app", "OPENREPLAY_SIDECAR_APP", "sidecar.yaml:3"
}

// load reads the configuration: the flags come before the environment, that before the file, that before the defaults.
// Everything that is wrong is said at once. The warnings never stop a pod from starting.
func load(args, environ []string) (c *config, warnings []string, err error) {
	c = newConfig()
	options := c.options()
	fromFlags, err := readFlags(options, args)
	if err != nil {
		return nil, nil, usageError{err}
	}
	fromEnv, warnings := readEnvironment(options, environ)
	all := map[string]given{}
	path := first(fromFlags["config"].texts, fromEnv["config"].texts)
	var problems []error
	if path != "" {
		if all, c.Ports, err = readFile(options, path); err != nil {
			problems = append(problems, err)
		}
	}
	for _, source := range []map[string]given{fromEnv, fromFlags} {
		for flag, g := range source {
			all[flag] = g
		}
	}
	for _, o := range options {
		if g, ok := all[o.flag]; ok {
			if err := o.value.set(g.texts); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", g.where, err))
			}
		}
	}
	if err := errors.Join(append(problems, c.validate())...); err != nil {
		return nil, warnings, usageError{err}
	}
	return c, warnings, nil
}

func first(lists ...[]string) string {
	for _, l := range lists {
		if len(l) > 0 {
			return l[len(l)-1]
		}
	}
	return ""
}

// readFlags takes -name value, --name value and --name=value; a switch needs no value.
func readFlags(options []option, args []string) (map[string]given, error) {
	byName := map[string]option{}
	var names []string
	for _, o := range options {
		byName[o.flag] = o
		names = append(names, o.flag)
	}
	out := map[string]given{}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		name, dashed := strings.CutPrefix(arg, "-")
		if !dashed {
			return nil, fmt.Errorf("%q is not an option; options begin with --", arg)
		}
		name, val, has := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		o, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("unknown option --%s%s", name, didYouMean(name, names, "--"))
		}
		switch {
		case has:
		case o.arg == "":
			val = "true"
		case len(args) == 0:
			return nil, fmt.Errorf("--%s needs a value: --%s %s", name, name, o.arg)
		default:
			val, args = args[0], args[1:]
		}
		g := out[name]
		if !o.value.many() {
			g.texts = nil // the last one counts
		}
		out[name] = given{append(g.texts, val), "--" + name}
	}
	return out, nil
}

// kubernetesMade are the names that Kubernetes puts into pods for a Service called openreplay-sidecar or
// openreplay-sidecar-something.
var kubernetesMade = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$|^OPENREPLAY_SIDECAR_(SERVICE_HOST|PORT)`)

func readEnvironment(options []option, environ []string) (out map[string]given, warnings []string) {
	out = map[string]given{}
	byName := map[string]option{}
	var names []string
	for _, o := range options {
		byName[o.environment()] = o
		names = append(names, o.environment())
	}
	for _, line := range environ {
		name, val, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		o, ok := byName[name]
		switch {
		case ok && o.value.many():
			out[o.flag] = given{strings.Split(val, ","), name}
		case ok:
			out[o.flag] = given{[]string{val}, name}
		case !kubernetesMade.MatchString(name):
			warnings = append(warnings, fmt.Sprintf("the environment's %s is no option and is passed over%s", name, didYouMean(name, names, "")))
		}
	}
	return out, warnings
}

// readFile reads the YAML file; keys of any depth are joined by dots.
func readFile(options []option, path string) (map[string]given, []port, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return map[string]given{}, nil, fmt.Errorf("read --config: %w", err)
	}
	file, err := parser.ParseBytes(content, 0)
	if err != nil {
		return map[string]given{}, nil, fmt.Errorf("read --config %s: %w", path, err)
	}
	r := fileReader{path: path, out: map[string]given{}, byKey: map[string]option{}}
	r.keys = append(r.keys, "ports")
	for _, o := range options {
		if o.yaml != "" {
			r.byKey[o.yaml] = o
			r.keys = append(r.keys, o.yaml)
		}
	}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			r.read("", doc.Body)
		}
	}
	return r.out, r.ports, errors.Join(r.problems...)
}

type fileReader struct {
	path     string
	byKey    map[string]option
	keys     []string
	out      map[string]given
	ports    []port
	problems []error
}

func (r *fileReader) where(n ast.Node) string {
	return fmt.Sprintf("%s:%d", r.path, n.GetToken().Position.Line)
}

func (r *fileReader) problem(n ast.Node, format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf("%s: %s", r.where(n), fmt.Sprintf(format, args...)))
}

func (r *fileReader) read(prefix string, n ast.Node) {
	pairs, ok := mapping(n)
	if !ok {
		r.problem(n, "keys and values are expected here, as in `listen: :8080`")
		return
	}
	for _, pair := range pairs {
		key := prefix + scalarText(pair.Key)
		o, known := r.byKey[key]
		switch {
		case key == "ports":
			r.readPorts(pair.Value)
		case known:
			r.out[o.flag] = given{r.values(o, pair.Value), r.where(pair.Key) + ": " + key}
		case r.isParent(key):
			r.read(key+".", pair.Value)
		default:
			r.problem(pair.Key, "unknown key %q%s", key, didYouMean(key, r.keys, ""))
		}
	}
}

func (r *fileReader) isParent(key string) bool {
	for _, k := range r.keys {
		if strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

func (r *fileReader) values(o option, n ast.Node) []string {
	if list, ok := n.(*ast.SequenceNode); ok && o.value.many() {
		var out []string
		for _, item := range list.Values {
			out = append(out, scalarText(item))
		}
		return out
	}
	return []string{scalarText(n)}
}

func (r *fileReader) readPorts(n ast.Node) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		r.problem(n, "ports is a list: [{listen: :8080, app: http://127.0.0.1:8081}]")
		return
	}
	for _, item := range list.Values {
		pairs, _ := mapping(item)
		var p port
		for _, pair := range pairs {
			switch key := scalarText(pair.Key); key {
			case "listen":
				p.Listen = scalarText(pair.Value)
			case "app":
				p.App = scalarText(pair.Value)
			default:
				r.problem(pair.Key, "unknown key %q: a port has listen and app", key)
			}
		}
		r.ports = append(r.ports, p)
	}
}

// mapping gives the pairs of a mapping; goccy has a type of its own for one of a single pair.
func mapping(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	case *ast.NullNode:
		return nil, true
	}
	return nil, false
}

func scalarText(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.NullNode:
		return ""
	}
	return n.GetToken().Value
}

// didYouMean names the nearest of the known names, if one is near.
func didYouMean(name string, known []string, prefix string) string {
	best, least := "", 1+len(name)/3
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d <= least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s%s?)", prefix, best)
}

// distance is Levenshtein's: how many letters have to be changed, put in or taken out.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for i := range row {
		row[i] = i
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for k := range len(b) {
			change := left
			if a[i] != b[k] {
				change++
			}
			left = row[k+1]
			row[k+1] = min(change, row[k]+1, row[k+1]+1)
		}
	}
	return row[len(b)]
}
