// Command schemas makes the JSON schemas that kubeconform reads, out of the API description that every version of Kubernetes
// brings along: schemas SWAGGER DIR.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

type object = map[string]any

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: schemas SWAGGER DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "schemas:", err)
		os.Exit(1)
	}
}

func run(swagger, dir string) error {
	b, err := os.ReadFile(swagger)
	if err != nil {
		return err
	}
	var doc struct{ Definitions map[string]object }
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	plain := map[string]any{}
	for name, d := range doc.Definitions {
		plain[name] = strict(d)
	}
	plain["io.k8s.apimachinery.pkg.api.resource.Quantity"] = object{"type": []string{"string", "number"}}
	for name, d := range doc.Definitions {
		kinds, _ := d["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue // options and lists that every group has
		}
		kind := kinds[0].(object)
		needed := object{}
		collect(plain[name], plain, needed)
		schema := object{"$schema": "http://json-schema.org/draft-07/schema#", "definitions": needed, "allOf": []any{plain[name]}}
		out, err := json.Marshal(schema)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, fileName(kind)), out, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fileName is kubeconform's: kind-group-version, the group's first part.
func fileName(kind object) string {
	parts := []string{strings.ToLower(kind["kind"].(string))}
	if group, _, _ := strings.Cut(kind["group"].(string), "."); group != "" {
		parts = append(parts, group)
	}
	return strings.Join(append(parts, kind["version"].(string)), "-") + ".json"
}

// strict makes a schema of a description: no fields but the known ones, and null where a field may be left out.
func strict(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = strict(v[i])
		}
		return v
	case object:
		if v["format"] == "int-or-string" {
			return object{"type": []string{"string", "integer"}}
		}
		if ref, ok := v["$ref"]; ok {
			return object{"$ref": ref}
		}
		delete(v, "format")
		out := object{}
		for key, child := range v {
			if properties, ok := child.(object); ok && key == "properties" {
				out[key] = nullable(properties)
			} else {
				out[key] = strict(child)
			}
		}
		if _, has := out["properties"]; has && out["additionalProperties"] == nil {
			out["additionalProperties"] = false
		}
		return out
	}
	return v
}

func nullable(properties object) object {
	out := object{}
	for name, p := range properties {
		p := strict(p)
		if o, ok := p.(object); ok {
			if kind, ok := o["type"].(string); ok {
				o["type"] = []string{kind, "null"}
			}
		}
		out[name] = p
	}
	return out
}

// collect gathers what a schema refers to.
func collect(v any, all map[string]any, into object) {
	switch v := v.(type) {
	case []any:
		for _, child := range v {
			collect(child, all, into)
		}
	case object:
		if ref, ok := v["$ref"].(string); ok {
			name := strings.TrimPrefix(ref, "#/definitions/")
			if into[name] == nil && all[name] != nil {
				into[name] = all[name]
				collect(all[name], all, into)
			}
		}
		for _, child := range v {
			collect(child, all, into)
		}
	}
}
