package manifest

import (
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// A service is one of the stream that chooses pods by labels.
type service struct {
	Metadata struct{ Name, Namespace string }
	Spec     struct {
		Selector map[string]string
		Ports    []struct {
			Port       int
			TargetPort any
		}
	}
}

// A workload is one whose port's name the sidecar took over.
type workload struct {
	namespace string
	labels    map[string]string
	numbers   map[int]string // the ports that have names
	line      int            // in the report
}

func (s *stream) noteService(n *yaml.Node) {
	if text(n, "kind") != "Service" {
		return
	}
	var v service
	if err := n.Decode((*yamlService)(&v)); err == nil && len(v.Spec.Selector) > 0 {
		s.services = append(s.services, v)
	}
}

// yamlService reads a Service by its JSON names.
type yamlService service

func (v *yamlService) UnmarshalYAML(n *yaml.Node) error {
	var doc any
	if err := n.Decode(&doc); err != nil {
		return err
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, (*service)(v))
}

func (s *stream) noteMove(whole *yaml.Node, pod any, _ string, line int) {
	raw, err := json.Marshal(pod)
	if err != nil {
		return
	}
	var p struct {
		Metadata struct {
			Labels, Annotations map[string]string
		}
		Spec struct {
			Containers []struct {
				Ports []struct {
					Name          string
					ContainerPort int
				}
			}
		}
	}
	if json.Unmarshal(raw, &p) != nil || p.Metadata.Annotations["openreplay-sidecar/traffic"] != "" || p.Metadata.Annotations["openreplay-sidecar/app-port-env"] != "" {
		return
	}
	w := workload{namespace: text(whole, "metadata", "namespace"), labels: p.Metadata.Labels, numbers: map[int]string{}, line: line}
	for _, c := range p.Spec.Containers {
		for _, q := range c.Ports {
			w.numbers[q.ContainerPort] = q.Name
		}
	}
	s.moved = append(s.moved, w)
}

// checkServices warns of those that go past the sidecar, because they name a port's number.
func (s *stream) checkServices() {
	for _, w := range s.moved {
		for _, v := range s.services {
			if v.Metadata.Namespace != w.namespace || !chosen(v.Spec.Selector, w.labels) {
				continue
			}
			for _, p := range v.Spec.Ports {
				number := p.Port
				if t, ok := p.TargetPort.(float64); ok {
					number = int(t)
				} else if p.TargetPort != nil {
					continue
				}
				if name := w.numbers[number]; name != "" {
					s.report[w.line].Warnings = append(s.report[w.line].Warnings,
						fmt.Sprintf("service/%s goes to port %d by its number, past the sidecar: let its targetPort be %q", v.Metadata.Name, number, name))
				}
			}
		}
	}
}

func chosen(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}
