package injector

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the injector writes. Only fields that it sets are here.
type (
	containerOut struct {
		Name            string       `json:"name"`
		Image           string       `json:"image"`
		ImagePullPolicy string       `json:"imagePullPolicy,omitempty"`
		Command         []string     `json:"command,omitempty"`
		Args            []string     `json:"args,omitempty"`
		RestartPolicy   string       `json:"restartPolicy,omitempty"`
		Env             []envOut     `json:"env,omitempty"`
		Ports           []portOut    `json:"ports,omitempty"`
		StartupProbe    *probeOut    `json:"startupProbe,omitempty"`
		ReadinessProbe  *probeOut    `json:"readinessProbe,omitempty"`
		Resources       resourcesOut `json:"resources"`
		SecurityContext securityOut  `json:"securityContext"`
		MessagePolicy   string       `json:"terminationMessagePolicy,omitempty"`
		VolumeMounts    []mount      `json:"volumeMounts,omitempty"`
	}
	envOut struct {
		Name      string     `json:"name"`
		Value     string     `json:"value,omitempty"`
		ValueFrom *fieldFrom `json:"valueFrom,omitempty"`
	}
	fieldFrom struct {
		FieldRef struct {
			FieldPath string `json:"fieldPath"`
		} `json:"fieldRef"`
	}
	portOut struct {
		Name          string `json:"name,omitempty"`
		ContainerPort int    `json:"containerPort"`
	}
	probeOut struct {
		HTTPGet struct {
			Path string `json:"path"`
			Port int    `json:"port"`
		} `json:"httpGet"`
		PeriodSeconds    int `json:"periodSeconds"`
		FailureThreshold int `json:"failureThreshold"`
	}
	resourcesOut struct {
		Requests map[string]string `json:"requests"`
		Limits   map[string]string `json:"limits"`
	}
	securityOut struct {
		RunAsNonRoot             bool           `json:"runAsNonRoot"`
		RunAsUser                int64          `json:"runAsUser"`
		RunAsGroup               int64          `json:"runAsGroup"`
		AllowPrivilegeEscalation bool           `json:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool           `json:"readOnlyRootFilesystem"`
		Capabilities             capabilities   `json:"capabilities"`
		SeccompProfile           map[string]any `json:"seccompProfile"`
	}
	capabilities struct {
		Drop []string `json:"drop"`
		Add  []string `json:"add,omitempty"`
	}
	mount struct {
		Name        string `json:"name"`
		MountPath   string `json:"mountPath"`
		ReadOnly    bool   `json:"readOnly,omitempty"`
		SubPath     string `json:"subPath,omitempty"`
		SubPathExpr string `json:"subPathExpr,omitempty"`
	}
	volumeOut struct {
		Name      string     `json:"name"`
		EmptyDir  *emptyDir  `json:"emptyDir,omitempty"`
		HostPath  *hostPath  `json:"hostPath,omitempty"`
		Secret    *secretOut `json:"secret,omitempty"`
		Projected *projected `json:"projected,omitempty"`
	}
	emptyDir struct {
		Medium    string `json:"medium,omitempty"`
		SizeLimit string `json:"sizeLimit,omitempty"`
	}
	hostPath struct {
		Path string `json:"path"`
	}
	secretOut struct {
		SecretName  string `json:"secretName"`
		DefaultMode int    `json:"defaultMode"`
	}
	projected struct {
		Sources []map[string]any `json:"sources"`
	}
)

const (
	stateDir = "/var/lib/openreplay-sidecar"
	tableDir = "/run/openreplay-sidecar"
	tokenDir = "/var/run/secrets/kubernetes.io/serviceaccount"

	envNamespace = "OPENREPLAY_SIDECAR_K8S_NAMESPACE"
	envPod       = "OPENREPLAY_SIDECAR_K8S_POD"

	ownUser = 65532
	// tableReserve is the room for the table beside its own size, and in the container's memory for what is not Go's.
	tableReserve = 16
)

func fieldEnv(name, field string) envOut {
	e := envOut{Name: name, ValueFrom: &fieldFrom{}}
	e.ValueFrom.FieldRef.FieldPath = field
	return e
}

// helper is a container with the sidecar's image and nothing else in common.
func (i *injection) helper(name string, args []string) containerOut {
	return containerOut{
		Name: Name + "-" + name, Image: i.set.image, ImagePullPolicy: i.defaults.Policy, Args: args,
		Resources: resourcesOut{
			Requests: map[string]string{"cpu": "10m", "memory": "16Mi"}, Limits: map[string]string{"memory": "64Mi"},
		},
		SecurityContext: securityOut{
			RunAsNonRoot: true, RunAsUser: ownUser, RunAsGroup: ownUser, ReadOnlyRootFilesystem: true,
			Capabilities: capabilities{Drop: []string{"ALL"}}, SeccompProfile: map[string]any{"type": "RuntimeDefault"},
		},
		MessagePolicy: "FallbackToLogsOnError",
	}
}

// begin makes what every sidecar has.
func (i *injection) begin() {
	i.status = status{Version: i.defaults.Version, Container: i.app().Name}
	i.scheme = "http"
	i.side.Env = []envOut{
		fieldEnv(envNamespace, "metadata.namespace"), fieldEnv(envPod, "metadata.name"),
		{Name: "OPENREPLAY_SIDECAR_K8S_CONTAINER", Value: i.app().Name},
	}
}

// finish puts the sidecar together and writes the patch of the Pod itself; the app's container is done by then.
func (i *injection) finish() {
	side := i.helper("", nil)
	side.Name = Name
	side.Env, side.Ports, side.VolumeMounts = i.side.Env, i.side.Ports, i.side.VolumeMounts
	side.SecurityContext.RunAsUser, side.SecurityContext.RunAsGroup = i.user()
	side.Resources = resourcesOut{
		Requests: map[string]string{"cpu": i.set.cpu, "memory": i.set.memory}, Limits: map[string]string{"memory": i.set.limit},
	}
	i.addRoom(&side)
	i.addProbes(&side)
	i.boundStop()
	side.Args = i.arguments()
	containers := append([]containerOut{side}, i.helpers...)
	if i.set.classic {
		i.addClassic(containers)
	} else {
		containers[0].RestartPolicy = "Always"
		i.insert("/spec/initContainers", containers, len(i.pod.Spec.InitContainers) > 0)
	}
	i.appendTo("/spec/volumes", i.volumes, len(i.pod.Spec.Volumes) > 0)
	if i.pod.Metadata.Annotations == nil {
		i.made("/metadata/annotations")
		if metadata, _ := lookup(i.doc, []string{"metadata"}); metadata == nil { // a template may have none
			i.made("/metadata") // taken away after what is in it
			i.patch.add("/metadata", map[string]any{})
		}
		i.patch.add("/metadata/annotations", map[string]string{})
	}
	i.patch.add("/metadata/annotations/"+escape(StatusKey), string(mustJSON(i.status)))
}

// addClassic puts the sidecar last among the containers, and what has to be done before them among the init containers.
func (i *injection) addClassic(containers []containerOut) {
	containers[0].StartupProbe = nil // nobody waits for it, and the readiness probe says the same
	i.patch.add("/spec/containers/-", containers[0])
	if len(containers) > 1 {
		i.insert("/spec/initContainers", containers[1:], len(i.pod.Spec.InitContainers) > 0)
	}
}

// user is one that can read the app's files: the app's own where the Pod names it, else one in root's group, to which the
// files belong that a root app writes. fsGroup comes by itself.
func (i *injection) user() (uid, gid int64) {
	if !i.readsFiles {
		return ownUser, ownUser
	}
	uid, gid = i.pod.user(i.app())
	if uid == 0 {
		uid = ownUser
	}
	if i.asRootsGroup {
		gid = 0
	}
	return uid, gid
}

// addRoom mounts the sidecar's own volumes, and keeps the service account's token away: nothing here asks the API server.
func (i *injection) addRoom(side *containerOut) {
	tableMiB := 16
	if v := i.set.options["table-size"]; len(v) > 0 {
		tableMiB = mebibytes(v[0])
	}
	i.setOption("table", tableDir+"/table")
	i.volumes = append(i.volumes,
		volumeOut{Name: volumeName + "state", EmptyDir: &emptyDir{}},
		volumeOut{Name: volumeName + "table", EmptyDir: &emptyDir{Medium: "Memory", SizeLimit: strconv.Itoa(tableMiB+tableReserve) + "Mi"}},
		volumeOut{Name: volumeName + "no-token", EmptyDir: &emptyDir{}})
	side.VolumeMounts = append(side.VolumeMounts,
		mount{Name: volumeName + "state", MountPath: stateDir}, mount{Name: volumeName + "table", MountPath: tableDir})
	noToken := mount{Name: volumeName + "no-token", MountPath: tokenDir, ReadOnly: true}
	side.VolumeMounts = append(side.VolumeMounts, noToken)
	for k := range i.helpers {
		i.helpers[k].VolumeMounts = append(i.helpers[k].VolumeMounts, noToken)
	}
	side.Env = append(side.Env,
		envOut{Name: "GOMEMLIMIT", Value: strconv.Itoa(goMemory(i.set.limit, tableMiB)) + "MiB"}, envOut{Name: "GOMAXPROCS", Value: "2"})
}

// goMemory is what of a container's memory is Go's own: not the table, which counts in it, and a reserve.
func goMemory(limit string, tableMiB int) int {
	n, _ := strconv.Atoi(strings.TrimRight(limit, "MGi"))
	if strings.HasSuffix(limit, "Gi") {
		n *= 1024
	}
	return max(n-tableMiB-tableReserve, n/2)
}

// addProbes: the startup probe holds the app back until the proxy accepts, and readiness is the proxy's alone. There is no
// liveness probe: a restart cuts requests, and a sidecar that hangs is not ready.
func (i *injection) addProbes(side *containerOut) {
	health := 0
	if v := i.set.options["health"]; len(v) > 0 {
		health, _ = portOf(v[0])
	}
	if health == 0 {
		health = i.free(9094)
		i.setOption("health", ":"+strconv.Itoa(health))
	}
	if i.set.options["admin"] == nil {
		i.setOption("admin", "127.0.0.1:"+strconv.Itoa(i.free(9095)))
	}
	side.Ports = append(side.Ports, portOut{Name: "or-health", ContainerPort: health})
	probe := func(period, failures int) *probeOut {
		p := &probeOut{PeriodSeconds: period, FailureThreshold: failures}
		p.HTTPGet.Path, p.HTTPGet.Port = "/readyz", health
		return p
	}
	side.StartupProbe, side.ReadinessProbe = probe(1, 120), probe(5, 3)
}

// boundStop keeps the sidecar's end within the Pod's, which the app uses first.
func (i *injection) boundStop() {
	grace := 30
	if g := i.pod.Spec.TerminationGracePeriodSeconds; g != nil {
		grace = *g
	}
	if v := i.set.options["drain"]; len(v) > 0 {
		if d, err := time.ParseDuration(v[0]); err == nil && d > time.Duration(grace)*time.Second {
			i.warn("drain %s is longer than the pod's terminationGracePeriodSeconds %d", v[0], grace)
		}
		return
	}
	if grace < 30 {
		i.setOption("drain", fmt.Sprintf("%ds", max(1, grace*2/3)))
	}
	if grace < 5 {
		i.warn("terminationGracePeriodSeconds %d leaves the sidecar little time to send the last errors", grace)
	}
}

// arguments are the sidecar's command line, in a fixed order. $ is doubled where the kubelet would put in a variable.
func (i *injection) arguments() []string {
	if len(i.routes) == 1 {
		i.setOption("listen", fmt.Sprintf(":%d", i.routes[0].listen))
		i.setOption("app", fmt.Sprintf("%s://127.0.0.1:%d", i.scheme, i.routes[0].app))
	}
	if len(i.routes) > 1 {
		i.set.options["ports"] = nil
		for _, r := range i.routes {
			i.set.options["ports"] = append(i.set.options["ports"], fmt.Sprintf(":%d=%s://127.0.0.1:%d", r.listen, i.scheme, r.app))
		}
	}
	args := []string{"run"}
	for _, flag := range sortedKeys(i.set.options) {
		for _, v := range i.set.options[flag] {
			args = append(args, "--"+flag+"="+strings.ReplaceAll(v, "$(", "$$("))
		}
	}
	return args
}

// insert puts items before those that are there.
func (i *injection) insert(path string, items []containerOut, there bool) {
	if !there {
		i.made(path)
		i.patch.add(path, items)
		return
	}
	for k, item := range items {
		i.patch.add(path+"/"+strconv.Itoa(k), item)
	}
}

func (i *injection) appendTo(path string, items []volumeOut, there bool) {
	if !there {
		i.made(path)
		i.patch.add(path, items)
		return
	}
	for _, item := range items {
		i.patch.add(path+"/-", item)
	}
}

func (i *injection) inApp(path string) string {
	return fmt.Sprintf("/spec/containers/%d/%s", i.at, path)
}

// change sets a value in the app's container, and notes what it was.
func (i *injection) change(path string, value any) {
	was, ok := lookup(i.doc, Split(i.inApp(path)))
	c := change{At: path, Is: mustJSON(value)}
	if !ok {
		i.patch.add(i.inApp(path), value)
	} else {
		c.Was = mustJSON(was)
		i.patch.replace(i.inApp(path), value)
	}
	i.status.Changed = append(i.status.Changed, c)
}

// extend appends to a list of the app's container; its items have names, by which Uninject finds them.
func (i *injection) extend(list string, item any) {
	entries, _ := lookup(i.doc, Split(i.inApp(list)))
	if there, ok := entries.([]any); !ok || len(there) == 0 {
		if !slices.Contains(i.extended, list) {
			i.extended = append(i.extended, list)
			i.status.Changed = append(i.status.Changed, i.former(list, i.inApp(list)))
			i.patch.add(i.inApp(list), []any{item})
			return
		}
	}
	i.patch.add(i.inApp(list)+"/-", item)
}

func (i *injection) mountInApp(m mount) { i.extend("volumeMounts", m) }

// made notes a list or map of the Pod that was not there, or was empty.
func (i *injection) made(path string) {
	i.status.Changed = append(i.status.Changed, i.former(path, path))
}

func (i *injection) former(at, path string) change {
	c := change{At: at}
	if was, ok := lookup(i.doc, Split(path)); ok {
		c.Was = mustJSON(was)
	}
	return c
}

// lookup follows a path through a document of maps and slices.
func lookup(doc any, path []string) (any, bool) {
	for _, key := range path {
		switch d := doc.(type) {
		case map[string]any:
			child, ok := d[key]
			if !ok {
				return nil, false
			}
			doc = child
		case []any:
			at, err := strconv.Atoi(key)
			if err != nil || at >= len(d) {
				return nil, false
			}
			doc = d[at]
		default:
			return nil, false
		}
	}
	return doc, true
}
