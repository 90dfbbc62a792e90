package injector

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Operation is one step of a JSON Patch (RFC 6902): add, replace or remove.
type Operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value,omitempty"`
}

// A Patch is made of operations in their order.
type Patch []Operation

func (p *Patch) add(path string, value any) { *p = append(*p, Operation{"add", path, mustJSON(value)}) }
func (p *Patch) replace(path string, value any) {
	*p = append(*p, Operation{"replace", path, mustJSON(value)})
}

// mustJSON is for values of our own types, which can all be written.
func mustJSON(value any) json.RawMessage {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return json.RawMessage(strings.TrimSpace(b.String()))
}

// escape makes a key a part of a path.
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// Split gives the parts of an operation's path.
func Split(path string) []string {
	parts := strings.Split(path, "/")[1:]
	for i, p := range parts {
		parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(p)
	}
	return parts
}

// Apply does what the patch says to a document of maps and slices, and gives the document back.
func (p Patch) Apply(doc any) (any, error) {
	for _, op := range p {
		var value any
		if op.Value != nil {
			if err := decodeJSON(op.Value, &value); err != nil {
				return nil, err
			}
		}
		var err error
		if doc, err = apply(doc, op.Op, Split(op.Path), value); err != nil {
			return nil, fmt.Errorf("%s %s: %w", op.Op, op.Path, err)
		}
	}
	return doc, nil
}

// decodeJSON keeps numbers as they are written.
func decodeJSON(b []byte, into any) error {
	decoder := json.NewDecoder(strings.NewReader(string(b)))
	decoder.UseNumber()
	return decoder.Decode(into)
}

func apply(doc any, op string, path []string, value any) (any, error) {
	if len(path) == 0 {
		return value, nil
	}
	key, last := path[0], len(path) == 1
	switch d := doc.(type) {
	case map[string]any:
		child, ok := d[key]
		switch {
		case !last && ok:
			changed, err := apply(child, op, path[1:], value)
			d[key] = changed
			return d, err
		case last && op == "remove" && ok:
			delete(d, key)
			return d, nil
		case last && (op == "add" || op == "replace" && ok):
			d[key] = value
			return d, nil
		}
	case []any:
		at, err := strconv.Atoi(key)
		if key == "-" {
			at, err = len(d), nil
		}
		switch {
		case err != nil || at < 0 || at > len(d) || at == len(d) && op != "add":
		case !last:
			d[at], err = apply(d[at], op, path[1:], value)
			return d, err
		case op == "add":
			return slices.Insert(d, at, value), nil
		case op == "remove":
			return slices.Delete(d, at, at+1), nil
		default:
			d[at] = value
			return d, nil
		}
	}
	return nil, fmt.Errorf("there is no %q", key)
}
