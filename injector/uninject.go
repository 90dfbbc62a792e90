package injector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// status is what an injected Pod remembers, in its annotation.
type status struct {
	Version   string   `json:"version"`
	Container string   `json:"container"`
	Env       []string `json:"env,omitempty"` // the variables that the app was given
	Changed   []change `json:"changed,omitempty"`
}

// A change is one place of the Pod that is not as it was: below the app's container, or of the Pod where it begins with /.
// Without Was there was nothing. Without Is it is a list or map of which the injector made the first entry.
type change struct {
	At  string          `json:"at"`
	Was json.RawMessage `json:"was,omitempty"`
	Is  json.RawMessage `json:"is,omitempty"`
}

// Uninject gives the patch that takes the sidecar out again. What others have changed since is left, and reported.
func Uninject(raw []byte) (Patch, []string, error) {
	var u uninjection
	err := decodeJSON(raw, &u.doc)
	if err == nil {
		u.pod, err = readPod(raw)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the pod: %w", err)
	}
	if !u.pod.injected() {
		return nil, nil, nil
	}
	if err := json.Unmarshal([]byte(u.pod.Metadata.Annotations[StatusKey]), &u.status); err != nil {
		return nil, nil, fmt.Errorf("the annotation %s cannot be read: %w", StatusKey, err)
	}
	u.run()
	return u.patch, u.warnings, nil
}

type uninjection struct {
	doc      any
	pod      pod
	status   status
	patch    Patch
	warnings []string
}

func (u *uninjection) run() {
	app := slices.IndexFunc(u.pod.Spec.Containers, func(c container) bool { return c.Name == u.status.Container })
	if app >= 0 {
		u.restoreApp("/spec/containers/" + strconv.Itoa(app) + "/")
	} else {
		u.warnings = append(u.warnings, fmt.Sprintf("the container %s is gone: nothing is restored in it", u.status.Container))
	}
	ours := func(name string) bool { return name == Name || strings.HasPrefix(name, Name+"-") }
	u.drop("/spec/containers", ours)
	u.drop("/spec/initContainers", ours)
	u.drop("/spec/volumes", func(name string) bool { return strings.HasPrefix(name, volumeName) })
	u.do(Operation{"remove", "/metadata/annotations/" + escape(StatusKey), nil})
	u.restoreEmpty("")
}

// restoreApp gives back the values of the app's container that are still the injector's.
func (u *uninjection) restoreApp(base string) {
	for _, c := range u.status.Changed {
		if strings.HasPrefix(c.At, "/") || c.Is == nil {
			continue
		}
		now, ok := lookup(u.doc, Split(base+c.At))
		switch {
		case !ok || !bytes.Equal(mustJSON(now), c.Is):
			u.warnings = append(u.warnings, fmt.Sprintf("%s of %s was changed since, and is left as it is", c.At, u.status.Container))
		case c.Was == nil:
			u.do(Operation{"remove", base + c.At, nil})
		default:
			u.do(Operation{"replace", base + c.At, c.Was})
		}
	}
	u.drop(base+"volumeMounts", func(name string) bool { return strings.HasPrefix(name, volumeName) })
	for _, name := range u.status.Env {
		u.drop(base+"env", func(n string) bool { return n == name })
	}
	u.restoreEmpty(base)
}

// drop takes the entries with such names out of a list, from its end.
func (u *uninjection) drop(path string, ours func(name string) bool) {
	list, _ := lookup(u.doc, Split(path))
	entries, _ := list.([]any)
	for at := len(entries) - 1; at >= 0; at-- {
		entry, _ := entries[at].(map[string]any)
		if name, _ := entry["name"].(string); ours(name) {
			u.do(Operation{"remove", path + "/" + strconv.Itoa(at), nil})
		}
	}
}

// restoreEmpty takes away what the injector made and what is empty now.
func (u *uninjection) restoreEmpty(base string) {
	for _, c := range u.status.Changed {
		if c.Is != nil || strings.HasPrefix(c.At, "/") != (base == "") {
			continue
		}
		now, ok := lookup(u.doc, Split(base+c.At))
		text := string(mustJSON(now))
		switch {
		case !ok || text != "[]" && text != "{}":
		case c.Was == nil:
			u.do(Operation{"remove", base + c.At, nil})
		default:
			u.do(Operation{"replace", base + c.At, c.Was})
		}
	}
}

func (u *uninjection) do(op Operation) {
	u.patch = append(u.patch, op)
	u.apply(op)
}

func (u *uninjection) apply(op Operation) {
	doc, err := Patch{op}.Apply(u.doc)
	if err != nil {
		panic(err) // every path was looked up before
	}
	u.doc = doc
}
