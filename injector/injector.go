// Package injector adds the sidecar to a Pod, as a pure function from the Pod's JSON to a JSON Patch.
//
// The patch is written by hand, operation by operation, and never found by comparing typed Pods: fields that this program has
// never heard of stay as they are. What was changed is noted in an annotation, from which Uninject makes it undone.
package injector

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
)

// The names that the injector gives. They never change: pods of former versions have them too.
const (
	Prefix     = "openreplay-sidecar/" // of annotations and labels
	AskKey     = Prefix + "inject"     // the label or annotation that asks for the sidecar
	StatusKey  = Prefix + "status"     // the annotation that says what was done
	Name       = "openreplay-sidecar"  // the sidecar's container
	volumeName = "openreplay-"         // with this begin the volumes
)

// Defaults are what the cluster's operator sets for all pods.
type Defaults struct {
	Image   string            `json:"image"`
	Policy  string            `json:"imagePullPolicy,omitempty"`
	Options map[string]string `json:"options,omitempty"` // by the flag's name; annotations come before them
	// Classic makes an ordinary container, for clusters before 1.29, which know no native sidecars.
	Classic bool `json:"classic,omitempty"`
	// NodeLogs is where the kubelet keeps the containers' logs.
	NodeLogs string `json:"nodeLogs,omitempty"`
	CPU      string `json:"cpuRequest,omitempty"`
	Memory   string `json:"memoryRequest,omitempty"`
	Limit    string `json:"memoryLimit,omitempty"`
	// Version is noted in the pods.
	Version string `json:"-"`
}

// Builtin are the defaults where nobody set others.
func Builtin() Defaults {
	return Defaults{
		Image: "ghcr.io/openreplay/log-sidecar:latest", NodeLogs: "/var/log/pods",
		CPU: "10m", Memory: "32Mi", Limit: "128Mi", Version: "dev",
	}
}

// A Result says what was done to a Pod, or why nothing was.
type Result struct {
	Patch Patch // none where the Pod stays as it is
	// Reason is why there is no sidecar, in one word, and Text the same as a sentence with the way out.
	Reason Reason
	Text   string
	// Warnings are what the Pod's owner should know of a Pod that has the sidecar.
	Warnings []string
	// Container is the app's.
	Container string
}

// Reason is why a Pod has no sidecar.
type Reason string

// The reasons. They stand in metrics and Events, so there are few, and they keep their names.
const (
	NotAsked        Reason = "not-asked"
	ToldNotTo       Reason = "told-not-to"
	AlreadyInjected Reason = "already-injected"
	ByHand          Reason = "already-by-hand"
	BadSetting      Reason = "bad-setting"
	HostNetwork     Reason = "host-network"
	Windows         Reason = "windows"
	MirrorPod       Reason = "mirror-pod"
	NeverEnds       Reason = "would-never-end"
	NoContainer     Reason = "no-such-container"
	NoPort          Reason = "no-port"
	WhichPort       Reason = "which-port"
	PortUnnamed     Reason = "port-unnamed"
	PortFixed       Reason = "port-cannot-move"
	SpeaksTLS       Reason = "app-speaks-tls"
	NoCommand       Reason = "no-command"
	Mesh            Reason = "mesh-redirects"
	Unreadable      Reason = "unreadable"
)

// Silent reasons are nobody's mistake.
func (r Reason) Silent() bool {
	return r == NotAsked || r == ToldNotTo || r == AlreadyInjected || r == ""
}

// skip ends an injection.
type skip struct {
	reason Reason
	text   string
}

func (s skip) Error() string { return s.text }

func skipf(reason Reason, format string, args ...any) error {
	return skip{reason, fmt.Sprintf(format, args...)}
}

// Inject gives the patch that adds the sidecar. asked says that somebody other than the Pod itself asks for it: its
// namespace, or a person with a manifest.
func Inject(raw []byte, d Defaults, asked bool) Result {
	i := &injection{defaults: d}
	err := i.read(raw)
	if err == nil {
		err = i.decide(asked)
	}
	if err == nil {
		err = i.build()
	}
	if s, ok := err.(skip); ok { //nolint:errorlint // made above, never wrapped
		return Result{Reason: s.reason, Text: s.text}
	}
	return Result{Patch: i.patch, Warnings: i.warnings, Container: i.app().Name}
}

// Injected says whether a Pod has a sidecar that Inject gave to it.
func Injected(raw []byte) bool {
	p, err := readPod(raw)
	return err == nil && p.injected()
}

// An injection is one Pod on its way.
type injection struct {
	defaults Defaults
	pod      pod
	set      settings
	at       int // the app's place among the containers
	routes   []route
	warnings []string

	doc     any            // the Pod as it came
	side    containerOut   // what the sidecar's container has so far
	helpers []containerOut // the containers that stand beside it
	volumes []volumeOut
	patch   Patch
	status  status

	taken        []int    // ports that were chosen
	extended     []string // lists of the app that were made
	scheme       string   // how the app is spoken to
	readsFiles   bool     // of the app
	asRootsGroup bool
}

func (i *injection) app() *container { return &i.pod.Spec.Containers[i.at] }

func (i *injection) warn(format string, args ...any) {
	i.warnings = append(i.warnings, fmt.Sprintf(format, args...))
}

func (i *injection) read(raw []byte) error {
	var err error
	if i.pod, err = readPod(raw); err == nil {
		err = decodeJSON(raw, &i.doc)
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		return skipf(Unreadable, "the pod is not as Kubernetes has it at %q", semantic.JSONPointer)
	}
	if err != nil {
		return skipf(Unreadable, "the pod cannot be read: %v", err)
	}
	return nil
}

// decide says whether this Pod gets a sidecar at all.
func (i *injection) decide(asked bool) error {
	p := &i.pod
	switch answer := p.asks(); {
	case answer == "false":
		return skipf(ToldNotTo, "%s is false", AskKey)
	case answer != "" && answer != "true":
		return skipf(BadSetting, "%s is %q, and should be \"true\" or \"false\"", AskKey, answer)
	case answer == "" && !asked:
		return skipf(NotAsked, "neither the pod nor its namespace has %s", AskKey)
	}
	switch {
	case p.injected():
		return skipf(AlreadyInjected, "the pod has its sidecar")
	case p.has(Name):
		return skipf(ByHand, "the pod has a container %s already, which was not injected: take it out, or the question for injection", Name)
	case p.Metadata.Annotations["kubernetes.io/config.mirror"] != "":
		return skipf(MirrorPod, "it is the mirror of a static pod, which nobody can change: put the sidecar into the node's manifest (injector inject -f)")
	case p.Spec.HostNetwork:
		return skipf(HostNetwork, "hostNetwork: the sidecar's ports would be the node's; run `sidecar run` beside the app by hand")
	case p.windows():
		return skipf(Windows, "the pod is for Windows, the sidecar for Linux")
	case len(p.Spec.Containers) == 0:
		return skipf(NoContainer, "the pod has no containers")
	}
	return nil
}

// build writes the patch.
func (i *injection) build() (err error) {
	if i.set, err = readSettings(&i.pod, i.defaults, i.warn); err != nil {
		return err
	}
	if i.set.classic && i.pod.ends() {
		return skipf(NeverEnds, "restartPolicy %s: an ordinary sidecar would keep the pod from ending; native sidecars (Kubernetes 1.29 and newer) do not", i.pod.Spec.RestartPolicy)
	}
	if err := i.findApp(); err != nil {
		return err
	}
	i.begin()
	for _, step := range []func() error{i.bringTraffic, i.readLogs, i.readStdout, i.speakTLS, i.credentials, i.shareSessions} {
		if err := step(); err != nil {
			return err
		}
	}
	i.finish()
	return nil
}

// findApp finds the container that the sidecar stands in front of.
func (i *injection) findApp() error {
	name := i.set.container
	if name == "" {
		name = i.pod.Metadata.Annotations["kubectl.kubernetes.io/default-container"]
	}
	var names []string
	for at, c := range i.pod.Spec.Containers {
		if c.Name == name || name == "" && !knownSidecars[c.Name] {
			i.at = at
			return nil
		}
		names = append(names, c.Name)
	}
	return skipf(NoContainer, "no container is called %q; the pod has %s: set %scontainer", name, strings.Join(names, ", "), Prefix)
}

// knownSidecars are never the app.
var knownSidecars = map[string]bool{
	"istio-proxy": true, "linkerd-proxy": true, "daprd": true, "vault-agent": true, "cloud-sql-proxy": true, "cloudsql-proxy": true,
	"envoy": true, "otc-container": true, "datadog-agent": true, "fluentd": true, "fluent-bit": true, "consul-dataplane": true,
}
