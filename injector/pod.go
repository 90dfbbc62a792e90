package injector

import (
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// pod is what the injector reads of a Pod. It is never written out: see the package's word on patches. Names are read as
// the API server reads them, in their exact case.
type pod struct {
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		HostNetwork bool `json:"hostNetwork"`
		OS          struct {
			Name string `json:"name"`
		} `json:"os"`
		NodeSelector                  map[string]string `json:"nodeSelector"`
		RestartPolicy                 string            `json:"restartPolicy"`
		TerminationGracePeriodSeconds *int              `json:"terminationGracePeriodSeconds"`
		SecurityContext               securityContext   `json:"securityContext"`
		InitContainers                []container       `json:"initContainers"`
		Containers                    []container       `json:"containers"`
		Volumes                       []jsontext.Value  `json:"volumes"`
	} `json:"spec"`
}

type container struct {
	Name            string          `json:"name"`
	Image           string          `json:"image"`
	Command         []string        `json:"command"`
	Env             []env           `json:"env"`
	Ports           []port          `json:"ports"`
	VolumeMounts    []mount         `json:"volumeMounts"`
	SecurityContext securityContext `json:"securityContext"`
	LivenessProbe   handler         `json:"livenessProbe"`
	ReadinessProbe  handler         `json:"readinessProbe"`
	StartupProbe    handler         `json:"startupProbe"`
	Lifecycle       struct {
		PostStart handler `json:"postStart"`
		PreStop   handler `json:"preStop"`
	} `json:"lifecycle"`
}

type env struct {
	Name      string         `json:"name"`
	ValueFrom jsontext.Value `json:"valueFrom"` // set where the value comes from elsewhere
}

type port struct {
	Name          string `json:"name"`
	ContainerPort int    `json:"containerPort"`
	HostPort      int    `json:"hostPort"`
	Protocol      string `json:"protocol"`
}

type securityContext struct {
	RunAsUser  *int64 `json:"runAsUser"`
	RunAsGroup *int64 `json:"runAsGroup"`
}

// A handler is what the kubelet calls: a probe, or what is done at the start or the end.
type handler struct {
	HTTPGet   *target `json:"httpGet"`
	TCPSocket *target `json:"tcpSocket"`
	GRPC      *target `json:"grpc"`
}

type target struct {
	Host   string  `json:"host"`
	Scheme string  `json:"scheme"`
	Port   portRef `json:"port"`
}

// portRef is a port's number or its name, as it stands in the JSON.
type portRef []byte

func (p *portRef) UnmarshalJSON(b []byte) error {
	*p = slices.Clone(b)
	return nil
}

// is says whether the port is meant, by number or by name.
func (p portRef) is(q port) bool {
	return string(p) == strconv.Itoa(q.ContainerPort) || p.byName(q.Name)
}

func (p portRef) byName(name string) bool { return name != "" && string(p) == strconv.Quote(name) }

// A call is a handler's port, with its place in the container.
type call struct {
	path   string
	scheme string
	port   portRef
}

// calls are those that the kubelet makes to the pod itself.
func (c *container) calls() (out []call) {
	for _, h := range []struct {
		path string
		handler
	}{
		{"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe}, {"startupProbe", c.StartupProbe},
		{"lifecycle/postStart", c.Lifecycle.PostStart}, {"lifecycle/preStop", c.Lifecycle.PreStop},
	} {
		if h.HTTPGet != nil && h.HTTPGet.Host == "" {
			out = append(out, call{h.path + "/httpGet/port", h.HTTPGet.Scheme, h.HTTPGet.Port})
		}
		if h.TCPSocket != nil && h.TCPSocket.Host == "" {
			out = append(out, call{h.path + "/tcpSocket/port", "", h.TCPSocket.Port})
		}
		if h.GRPC != nil {
			out = append(out, call{h.path + "/grpc/port", "", h.GRPC.Port})
		}
	}
	return out
}

// asks gives what the Pod itself says of injection: its label comes before its annotation.
func (p *pod) asks() string {
	if v, ok := p.Metadata.Labels[AskKey]; ok {
		return v
	}
	return p.Metadata.Annotations[AskKey]
}

func (p *pod) injected() bool { return p.Metadata.Annotations[StatusKey] != "" && p.has(Name) }

func (p *pod) has(name string) bool {
	for _, list := range [][]container{p.Spec.InitContainers, p.Spec.Containers} {
		if slices.ContainsFunc(list, func(c container) bool { return c.Name == name }) {
			return true
		}
	}
	return false
}

func (p *pod) windows() bool {
	return p.Spec.OS.Name == "windows" || p.Spec.NodeSelector["kubernetes.io/os"] == "windows"
}

// ends says that the pod is to end by itself, as a Job's does.
func (p *pod) ends() bool {
	return p.Spec.RestartPolicy == "Never" || p.Spec.RestartPolicy == "OnFailure"
}

// free gives the first port from n on that no container has.
func (p *pod) free(n int, taken ...int) int {
	for ; ; n++ {
		used := slices.Contains(taken, n)
		for _, list := range [][]container{p.Spec.InitContainers, p.Spec.Containers} {
			for _, c := range list {
				used = used || slices.ContainsFunc(c.Ports, func(q port) bool { return q.ContainerPort == n })
			}
		}
		if !used {
			return n
		}
	}
}

// user gives the user and group that the app runs as, as far as the Pod says: 0 where its image decides.
func (p *pod) user(c *container) (uid, gid int64) {
	for _, s := range []securityContext{c.SecurityContext, p.Spec.SecurityContext} {
		if s.RunAsUser != nil && uid == 0 {
			uid = *s.RunAsUser
		}
		if s.RunAsGroup != nil && gid == 0 {
			gid = *s.RunAsGroup
		}
	}
	return uid, gid
}

func readPod(raw []byte) (p pod, err error) {
	err = json.Unmarshal(raw, &p)
	return p, err
}
