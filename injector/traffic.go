package injector

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A route is one of the app's ports: clients come in at listen, and requests go on to app.
type route struct {
	at          int // its place among the container's ports, -1 for a port that the pod does not name
	port        port
	listen, app int
	probe       int // where the kubelet finds the app itself, where that is another port
}

// Where the ports begin that the injector chooses. They are the first ones from here on that the pod does not use.
const (
	firstListen = 15080
	firstProbe  = 15180
	firstApp    = 18080
)

// bringTraffic brings the requests to the sidecar. Where listen and app are given by hand, so is that.
func (i *injection) bringTraffic() error {
	if i.set.traffic == "" {
		return nil
	}
	if err := i.choosePorts(); err != nil {
		return err
	}
	if err := i.refuseTLS(); err != nil {
		return err
	}
	way := map[string]func() error{"name": i.byName, "env": i.byEnv, "redirect": i.byRedirect}[i.set.traffic]
	if err := way(); err != nil {
		return err
	}
	i.moveCalls()
	for _, r := range i.routes {
		if r.port.HostPort != 0 {
			i.warn("hostPort %d goes to the app itself, past the sidecar", r.port.HostPort)
		}
	}
	return nil
}

// choosePorts finds the app's ports.
func (i *injection) choosePorts() error {
	var tcp []route
	for at, p := range i.app().Ports {
		if p.Protocol == "" || p.Protocol == "TCP" {
			tcp = append(tcp, route{at: at, port: p, app: p.ContainerPort})
		}
	}
	if len(i.set.appPorts) == 0 {
		return i.guessPort(tcp)
	}
	for _, wanted := range i.set.appPorts {
		at := slices.IndexFunc(tcp, func(r route) bool {
			return r.port.Name == wanted || strconv.Itoa(r.port.ContainerPort) == wanted
		})
		n, err := strconv.ParseUint(wanted, 10, 16)
		switch {
		case at >= 0:
			i.routes = append(i.routes, tcp[at])
		case err == nil && n > 0:
			i.routes = append(i.routes, route{at: -1, port: port{ContainerPort: int(n)}, app: int(n)})
		default:
			return skipf(NoPort, "the container %s has no TCP port %q: look at %sapp-port", i.app().Name, wanted, Prefix)
		}
	}
	return nil
}

// guessPort takes the only port, or the only one that is called http or web.
func (i *injection) guessPort(tcp []route) error {
	named := slices.DeleteFunc(slices.Clone(tcp), func(r route) bool {
		return !strings.HasPrefix(r.port.Name, "http") && !strings.HasPrefix(r.port.Name, "web")
	})
	switch {
	case len(tcp) == 0:
		return skipf(NoPort, "the container %s names no TCP port, so there is nothing to stand in front of: set %sapp-port", i.app().Name, Prefix)
	case len(tcp) == 1:
		i.routes = tcp
	case len(named) == 1:
		i.routes = named
	default:
		return skipf(WhichPort, "the container %s has %d TCP ports: say which with %sapp-port (several with commas)", i.app().Name, len(tcp), Prefix)
	}
	return nil
}

// refuseTLS: plain HTTP towards an app that speaks TLS would be answered by nobody.
func (i *injection) refuseTLS() error {
	if i.set.tlsSecret != "" {
		return nil
	}
	for _, c := range i.app().calls() {
		for _, r := range i.routes {
			if c.scheme == "HTTPS" && c.port.is(r.port) {
				return skipf(SpeaksTLS, "the probes of %s speak HTTPS to port %d, so the app does: give the sidecar its certificate with %stls-secret and %sapp-server-name",
					i.app().Name, r.port.ContainerPort, Prefix, Prefix)
			}
		}
	}
	return nil
}

// byName takes over the name of the app's port, so that Services that go by it find the sidecar. The app stays as it is.
func (i *injection) byName() error {
	for k := range i.routes {
		r := &i.routes[k]
		if r.port.Name == "" {
			return skipf(PortUnnamed, "port %d of %s has no name that the sidecar could take over: name it, and let the Service's targetPort be that name; or set %sapp-port-env, or %straffic: redirect",
				r.port.ContainerPort, i.app().Name, Prefix, Prefix)
		}
		r.listen = i.free(firstListen)
		i.change(fmt.Sprintf("ports/%d/name", r.at), otherName(r.port.Name))
		i.side.Ports = append(i.side.Ports, portOut{Name: r.port.Name, ContainerPort: r.listen})
	}
	return nil
}

// otherName is what the app's port is called when the sidecar has its name. Kubernetes allows 15 characters.
func otherName(name string) string {
	const end = "-app"
	return strings.TrimRight(name[:min(len(name), 15-len(end))], "-") + end
}

// byEnv lets the sidecar listen where the app did, and the app elsewhere, so that nobody else has to know.
func (i *injection) byEnv() error {
	if len(i.set.portEnvs) != len(i.routes) {
		return skipf(BadSetting, "%sapp-port-env names %d variables for %d ports", Prefix, len(i.set.portEnvs), len(i.routes))
	}
	for k := range i.routes {
		r := &i.routes[k]
		name := i.set.portEnvs[k]
		if r.port.ContainerPort < 1024 {
			return skipf(PortFixed, "the sidecar, which is not root, cannot listen at port %d: use %straffic: redirect, or name the port", r.port.ContainerPort, Prefix)
		}
		if r.port.HostPort != 0 {
			return skipf(PortFixed, "port %d has a hostPort, which cannot move: use %straffic: redirect", r.port.ContainerPort, Prefix)
		}
		r.listen, r.app = r.port.ContainerPort, i.free(firstApp)
		if err := i.setEnv(name, strconv.Itoa(r.app)); err != nil {
			return err
		}
		if r.at >= 0 {
			i.change(fmt.Sprintf("ports/%d/containerPort", r.at), r.app)
		}
		if r.port.Name != "" {
			i.change(fmt.Sprintf("ports/%d/name", r.at), otherName(r.port.Name))
		}
		i.side.Ports = append(i.side.Ports, portOut{Name: r.port.Name, ContainerPort: r.listen})
		r.probe = r.app
	}
	return nil
}

func (i *injection) setEnv(name, value string) error {
	at := slices.IndexFunc(i.app().Env, func(e env) bool { return e.Name == name })
	switch {
	case at < 0:
		i.extend("env", envOut{Name: name, Value: value})
		i.status.Env = append(i.status.Env, name)
	case len(i.app().Env[at].ValueFrom) > 0:
		return skipf(PortFixed, "the variable %s of %s comes from elsewhere, so it cannot be changed here", name, i.app().Name)
	default:
		i.change(fmt.Sprintf("env/%d/value", at), value)
	}
	return nil
}

// byRedirect bends the traffic in the kernel: what comes from outside to the app's port arrives at the sidecar. The
// kubelet's own calls go by another port straight to the app. A helper keeps the redirect only as long as the sidecar
// accepts, so that a sidecar that is down is passed by.
func (i *injection) byRedirect() error {
	for name := range knownMeshes {
		if i.pod.has(name) {
			return skipf(Mesh, "the pod has %s, which redirects the same traffic: use another %straffic", name, Prefix)
		}
	}
	args := []string{"redirect"}
	for k := range i.routes {
		r := &i.routes[k]
		r.listen, r.probe = i.free(firstListen), i.free(firstProbe)
		args = append(args, fmt.Sprintf("%d=%d", r.port.ContainerPort, r.listen), fmt.Sprintf("%d=%d:always", r.probe, r.port.ContainerPort))
		i.side.Ports = append(i.side.Ports, portOut{ContainerPort: r.listen})
	}
	i.helpers = append(i.helpers, i.redirector(args))
	return nil
}

var knownMeshes = map[string]bool{"istio-proxy": true, "linkerd-proxy": true, "envoy": true, "consul-dataplane": true, "kuma-sidecar": true}

// redirector has the one right that it needs. It is root because a right reaches nobody else without the image's help.
func (i *injection) redirector(args []string) containerOut {
	c := i.helper("redirect", args)
	c.Command = []string{"/redirect"}
	c.Args = args[1:]
	c.SecurityContext.RunAsUser, c.SecurityContext.RunAsGroup, c.SecurityContext.RunAsNonRoot = 0, 0, false
	c.SecurityContext.Capabilities.Add = []string{"NET_ADMIN"}
	if i.set.classic {
		c.Args = append([]string{"--once"}, c.Args...)
	} else {
		c.RestartPolicy = "Always"
	}
	return c
}

// moveCalls keeps the kubelet's calls on the app: they find it by number, for its port's name may be the sidecar's now.
func (i *injection) moveCalls() {
	for _, c := range i.app().calls() {
		for _, r := range i.routes {
			switch {
			case !c.port.is(r.port):
			case r.probe != 0:
				i.change(c.path, r.probe)
			case c.port.byName(r.port.Name):
				i.change(c.path, r.port.ContainerPort)
			}
		}
	}
}

// free gives a port that nobody in the pod has.
func (i *injection) free(from int) int {
	taken := slices.Clone(i.taken)
	for _, r := range i.routes {
		taken = append(taken, r.listen, r.app, r.probe)
	}
	n := i.pod.free(from, taken...)
	i.taken = append(i.taken, n)
	return n
}
