// Package manifest does to manifests, in YAML or JSON, what injector does to Pods. Documents that are not changed stay as they
// are, byte for byte; of the others, comments and order stay.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openreplay/log-sidecar/injector"
)

// A Line is what is said of one object.
type Line struct {
	Object   string // deployment/shop
	Done     bool   // it was changed
	Text     string
	Warnings []string
}

// Inject adds the sidecar to every pod and pod template of a stream.
func Inject(in []byte, d injector.Defaults) (out []byte, report []Line, err error) {
	s := stream{do: func(pod []byte) (injector.Patch, string, []string) {
		r := injector.Inject(pod, d, true)
		if r.Patch == nil {
			return nil, r.Text, r.Warnings
		}
		return r.Patch, "injected, in front of container " + r.Container, r.Warnings
	}}
	if out, err = s.run(in); err != nil {
		return nil, nil, err
	}
	s.checkServices()
	return out, s.report, nil
}

// Uninject takes it out again.
func Uninject(in []byte) (out []byte, report []Line, err error) {
	s := stream{}
	s.do = func(pod []byte) (injector.Patch, string, []string) {
		patch, warnings, err := injector.Uninject(pod)
		switch {
		case err != nil:
			return nil, err.Error(), nil
		case patch == nil:
			return nil, "has no injected sidecar", nil
		}
		return patch, "the sidecar is out", warnings
	}
	out, err = s.run(in)
	return out, s.report, err
}

// A stream is one file on its way.
type stream struct {
	do       func(pod []byte) (patch injector.Patch, text string, warnings []string)
	report   []Line
	services []service
	moved    []workload
}

var separator = regexp.MustCompile(`(?m)^---([ \t].*)?$`)

func (s *stream) run(in []byte) ([]byte, error) {
	var out bytes.Buffer
	from := 0
	for _, cut := range append(separator.FindAllIndex(in, -1), []int{len(in), len(in)}) {
		document, err := s.document(in[from:cut[0]])
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", 1+strings.Count(out.String(), "\n---"), err)
		}
		out.Write(document)
		out.Write(in[cut[0]:cut[1]])
		from = cut[1]
	}
	return out.Bytes(), nil
}

// document gives a document back, changed where it has pods.
func (s *stream) document(text []byte) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	if root.Kind == 0 {
		return text, nil
	}
	var whole any
	if err := root.Decode(&whole); err != nil { // also where an anchor is within itself, or stands for far too much
		return nil, err
	}
	plain(&root)
	changed, err := s.object(root.Content[0])
	if err != nil || !changed {
		return text, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return indented(root.Content[0])
	}
	return written(&root, text)
}

// object injects into a pod, a template or a list of them.
func (s *stream) object(n *yaml.Node) (changed bool, err error) {
	if items := child(n, "items"); items != nil && items.Kind == yaml.SequenceNode {
		for _, item := range items.Content {
			one, err := s.object(item)
			if err != nil {
				return changed, err
			}
			changed = changed || one
		}
		return changed, nil
	}
	s.noteService(n)
	name := strings.ToLower(text(n, "kind")) + "/" + text(n, "metadata", "name")
	for _, way := range [][]string{{}, {"spec", "template"}, {"spec", "jobTemplate", "spec", "template"}, {"template"}} {
		pod := descend(n, way...)
		if descend(pod, "spec", "containers") == nil {
			continue
		}
		return s.pod(n, pod, name)
	}
	return false, nil
}

func (s *stream) pod(whole, pod *yaml.Node, name string) (bool, error) {
	var doc any
	if err := pod.Decode(&doc); err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	patch, said, warnings := s.do(raw)
	if whole != pod && misplaced(whole) {
		warnings = append(warnings, "it has "+injector.AskKey+" itself, where nobody looks: it belongs on the pod template, spec.template.metadata")
	}
	s.report = append(s.report, Line{name, patch != nil, said, warnings})
	if patch == nil {
		return false, nil
	}
	s.noteMove(whole, doc, name, len(s.report)-1)
	for _, op := range patch {
		if err := edit(pod, op); err != nil {
			return false, fmt.Errorf("%s: %s %s: %w", name, op.Op, op.Path, err)
		}
	}
	return true, nil
}

func misplaced(n *yaml.Node) bool {
	return text(n, "metadata", "annotations", injector.AskKey) != "" || text(n, "metadata", "labels", injector.AskKey) != ""
}

// edit does one operation of a patch on YAML.
func edit(n *yaml.Node, op injector.Operation) error {
	path := injector.Split(op.Path)
	parent := descend(n, path[:len(path)-1]...)
	if parent == nil {
		return errors.New("there is no such place")
	}
	value, err := nodeOf(op.Value)
	if err != nil {
		return err
	}
	key := path[len(path)-1]
	if parent.Kind == yaml.SequenceNode {
		return editList(parent, op.Op, key, value)
	}
	if parent.Kind != yaml.MappingNode {
		return errors.New("it is neither a map nor a list")
	}
	at := slices.IndexFunc(parent.Content, func(k *yaml.Node) bool { return k.Value == key })
	switch {
	case op.Op == "remove" && at >= 0:
		parent.Content = slices.Delete(parent.Content, at, at+2)
	case at >= 0:
		value.LineComment = parent.Content[at+1].LineComment
		parent.Content[at+1] = value
	default:
		parent.Content = append(parent.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, value)
		parent.Style = 0
	}
	return nil
}

func editList(parent *yaml.Node, op, key string, value *yaml.Node) error {
	at, err := strconv.Atoi(key)
	if key == "-" {
		at, err = len(parent.Content), nil
	}
	if err != nil || at > len(parent.Content) || at == len(parent.Content) && op != "add" {
		return fmt.Errorf("the list has no place %s", key)
	}
	switch op {
	case "remove":
		parent.Content = slices.Delete(parent.Content, at, at+1)
	case "add":
		parent.Content = slices.Insert(parent.Content, at, value)
		parent.Style = 0
	default:
		parent.Content[at] = value
	}
	return nil
}

// nodeOf makes YAML in block style out of a patch's value.
func nodeOf(value json.RawMessage) (*yaml.Node, error) {
	if value == nil {
		return nil, nil
	}
	var root yaml.Node
	if err := yaml.Unmarshal(value, &root); err != nil {
		return nil, err
	}
	n := root.Content[0]
	unstyle(n)
	return n, nil
}

func unstyle(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode && len(n.Content) > 0 {
		n.Style = 0
	}
	if n.Kind == yaml.ScalarNode && n.Style == yaml.DoubleQuotedStyle && quoteless(n.Value) {
		n.Style = 0
	}
	for _, c := range n.Content {
		unstyle(c)
	}
}

// quoteless says whether a text can stand without quotes and still is one. The encoder adds them where it has to.
func quoteless(s string) bool {
	var n yaml.Node
	return yaml.Unmarshal([]byte(s), &n) == nil && len(n.Content) == 1 && n.Content[0].Kind == yaml.ScalarNode && n.Content[0].Tag == "!!str"
}

// plain writes anchors, aliases and merges out, so that a change in one place is none in another.
func plain(n *yaml.Node) {
	for i, c := range n.Content {
		if c.Kind == yaml.AliasNode {
			n.Content[i] = copied(c.Alias)
		}
		plain(n.Content[i])
	}
	n.Anchor = ""
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			merged := n.Content[i+1]
			n.Content = slices.Delete(n.Content, i, i+2)
			merge(n, merged)
			i -= 2
		}
	}
}

func merge(into, from *yaml.Node) {
	if from.Kind == yaml.SequenceNode {
		for _, c := range from.Content {
			merge(into, c)
		}
		return
	}
	for i := 0; i+1 < len(from.Content); i += 2 {
		if child(into, from.Content[i].Value) == nil {
			into.Content = append(into.Content, from.Content[i], from.Content[i+1])
		}
	}
}

func copied(n *yaml.Node) *yaml.Node {
	c := *n
	c.Anchor = ""
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = copied(child)
	}
	return &c
}

// written keeps the text's own way of indenting lists, and what stood around the document.
func written(root *yaml.Node, text []byte) ([]byte, error) {
	var b bytes.Buffer
	if len(text) > 0 && text[0] == '\n' {
		b.WriteByte('\n') // behind the separator
	}
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if compactLists(root) {
		encoder.CompactSeqIndent()
	}
	if err := encoder.Encode(root); err != nil {
		return nil, err
	}
	return b.Bytes(), encoder.Close()
}

// compactLists says whether the first list stands as far left as its key.
func compactLists(n *yaml.Node) bool {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if value.Kind == yaml.SequenceNode && value.Style&yaml.FlowStyle == 0 && value.Line > key.Line {
			return value.Column <= key.Column
		}
	}
	return slices.ContainsFunc(n.Content, compactLists)
}

// indented writes JSON, in the order of its keys.
func indented(n *yaml.Node) ([]byte, error) {
	var flat, out bytes.Buffer
	if err := flatJSON(&flat, n); err != nil {
		return nil, err
	}
	err := json.Indent(&out, flat.Bytes(), "", "  ")
	out.WriteByte('\n')
	return out.Bytes(), err
}

func flatJSON(w io.Writer, n *yaml.Node) error {
	scalar := func(n *yaml.Node) error {
		var v any
		if err := n.Decode(&v); err != nil {
			return err
		}
		b, err := json.Marshal(v)
		w.Write(b)
		return err
	}
	var brackets string
	switch n.Kind {
	case yaml.MappingNode:
		brackets = "{}"
	case yaml.SequenceNode:
		brackets = "[]"
	default:
		return scalar(n)
	}
	io.WriteString(w, brackets[:1])
	for i, c := range n.Content {
		if err := flatJSON(w, c); err != nil {
			return err
		}
		switch {
		case i == len(n.Content)-1:
		case n.Kind == yaml.MappingNode && i%2 == 0:
			io.WriteString(w, ":")
		default:
			io.WriteString(w, ",")
		}
	}
	io.WriteString(w, brackets[1:])
	return nil
}

// child gives a map's entry, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func descend(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		if n != nil && n.Kind == yaml.SequenceNode {
			at, err := strconv.Atoi(key)
			if err != nil || at >= len(n.Content) {
				return nil
			}
			n = n.Content[at]
			continue
		}
		n = child(n, key)
	}
	return n
}

func text(n *yaml.Node, path ...string) string {
	if n = descend(n, path...); n == nil {
		return ""
	}
	return n.Value
}
