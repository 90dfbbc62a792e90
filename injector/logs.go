package injector

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// readLogs shares the directories of the app's log files with the sidecar. A volume that is there already is used; else the
// directory becomes an emptyDir.
func (i *injection) readLogs() error {
	for n, dir := range logDirs(i.set.options["logs"]) {
		if dir == "/" || !path.IsAbs(dir) {
			return skipf(BadSetting, "%slogs: a volume cannot be mounted at %q: name files below a directory of their own", Prefix, dir)
		}
		if m, ok := i.mountAbove(dir); ok {
			m.ReadOnly = true
			i.side.VolumeMounts = append(i.side.VolumeMounts, m)
			continue
		}
		if what := imagesOwn(i.app().Image, dir); what != "" {
			i.warn("%s: %s; an empty directory hides that, and what the app prints reaches neither kubectl logs nor the node's agent any more. Better: %sstdout: exec", dir, what, Prefix)
		}
		volume := fmt.Sprintf("%slogs-%d", volumeName, n)
		i.volumes = append(i.volumes, volumeOut{Name: volume, EmptyDir: &emptyDir{}})
		i.mountInApp(mount{Name: volume, MountPath: dir})
		i.side.VolumeMounts = append(i.side.VolumeMounts, mount{Name: volume, MountPath: dir, ReadOnly: true})
	}
	if len(i.side.VolumeMounts) > 0 {
		i.readsFiles = true
	}
	return nil
}

// logDirs are the directories of the patterns, without those that lie in another one of them.
func logDirs(globs []string) (dirs []string) {
	for _, glob := range globs {
		if glob == "-" {
			continue
		}
		dir := path.Dir(glob)
		if wild := strings.IndexAny(dir, `*?[\`); wild >= 0 {
			dir = path.Dir(dir[:wild] + "x")
		}
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	return slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool {
		return slices.ContainsFunc(dirs, func(other string) bool { return within(dir, other) })
	})
}

// within says whether dir lies in other.
func within(dir, other string) bool {
	return dir != other && strings.HasPrefix(dir, strings.TrimSuffix(other, "/")+"/")
}

// mountAbove finds the app's own volume in which a directory lies: the nearest one counts.
func (i *injection) mountAbove(dir string) (best mount, ok bool) {
	for _, m := range i.app().VolumeMounts {
		at := path.Clean(m.MountPath)
		if (at == dir || within(dir, at)) && len(at) > len(best.MountPath) {
			best, ok = mount{Name: m.Name, MountPath: at, SubPath: m.SubPath, SubPathExpr: m.SubPathExpr}, true
		}
	}
	return best, ok
}

// imagesOwn says what popular images have in their log directories.
func imagesOwn(image, dir string) string {
	name := path.Base(image)
	name, _, _ = strings.Cut(name, "@")
	name, _, _ = strings.Cut(name, ":")
	for _, known := range []struct{ image, dir, what string }{
		{"nginx", "/var/log/nginx", "nginx images have links to stdout and stderr there"},
		{"openresty", "/usr/local/openresty/nginx/logs", "openresty images have links to stdout and stderr there"},
		{"httpd", "/usr/local/apache2/logs", "httpd images print instead of writing there"},
		{"php", "/var/log/apache2", "php:apache images have links to stdout and stderr there"},
		{"wordpress", "/var/log/apache2", "wordpress images have links to stdout and stderr there"},
		{"haproxy", "/var/log", "haproxy images print instead of writing there"},
	} {
		if strings.Contains(name, known.image) && (dir == known.dir || within(known.dir, dir)) {
			return known.what
		}
	}
	return ""
}

// Where the wrapped app finds the program, and leaves the copies of what it prints.
const (
	execDir = "/openreplay-sidecar/exec"
	copyDir = "/openreplay-sidecar/stdout"
	nodeDir = "/openreplay-sidecar/node"
)

// readStdout lets the sidecar read what the app prints.
func (i *injection) readStdout() error {
	switch i.set.stdout {
	case "exec":
		return i.wrapCommand()
	case "node":
		i.readNode()
	}
	return nil
}

// wrapCommand starts the app under `sidecar exec`: the app prints where it did, and a copy goes into a shared directory.
func (i *injection) wrapCommand() error {
	command := i.app().Command
	if len(command) == 0 {
		command = i.set.command
	}
	if len(command) == 0 {
		return skipf(NoCommand, "the command of %s stands in its image and not in the pod: copy it into %scommand (docker inspect or crane config show it as Entrypoint), or set %sstdout: node",
			i.app().Name, Prefix, Prefix)
	}
	program, copies := volumeName+"exec", volumeName+"stdout"
	i.volumes = append(i.volumes, volumeOut{Name: program, EmptyDir: &emptyDir{}}, volumeOut{Name: copies, EmptyDir: &emptyDir{}})
	install := i.helper("exec", []string{"exec", "--install", execDir})
	install.VolumeMounts = []mount{{Name: program, MountPath: execDir}}
	i.helpers = append(i.helpers, install)
	wrapped := append([]string{execDir + "/sidecar", "exec", "--to", copyDir, "--"}, command...)
	i.change("command", wrapped)
	i.mountInApp(mount{Name: program, MountPath: execDir, ReadOnly: true})
	i.mountInApp(mount{Name: copies, MountPath: copyDir})
	i.side.VolumeMounts = append(i.side.VolumeMounts, mount{Name: copies, MountPath: copyDir, ReadOnly: true})
	i.addLogs(copyDir + "/*.log")
	return nil
}

// readNode mounts the pod's own part of the node's logs. The kubelet's files belong to root's group.
func (i *injection) readNode() {
	volume := volumeName + "node-logs"
	i.volumes = append(i.volumes, volumeOut{Name: volume, HostPath: &hostPath{Path: i.defaults.NodeLogs}})
	i.side.VolumeMounts = append(i.side.VolumeMounts, mount{Name: volume, MountPath: nodeDir, ReadOnly: true,
		SubPathExpr: "$(" + envNamespace + ")_$(" + envPod + ")_$(OPENREPLAY_POD_UID)"})
	i.side.Env = append(i.side.Env, fieldEnv("OPENREPLAY_POD_UID", "metadata.uid"))
	i.addLogs(nodeDir + "/" + i.app().Name + "/*.log")
	i.asRootsGroup = true
}

func (i *injection) addLogs(glob string) {
	i.set.options["logs"] = append(i.set.options["logs"], glob)
	i.readsFiles = true
}

// speakTLS stands in front of an app that speaks TLS itself, with the app's own certificate on both sides.
func (i *injection) speakTLS() error {
	if i.set.tlsSecret == "" {
		return nil
	}
	if i.set.options["app-server-name"] == nil {
		return skipf(BadSetting, "with %stls-secret, %sapp-server-name has to say a name that the certificate has", Prefix, Prefix)
	}
	const dir = "/openreplay-sidecar/tls"
	volume := volumeName + "tls"
	i.volumes = append(i.volumes, volumeOut{Name: volume, Secret: &secretOut{SecretName: i.set.tlsSecret, DefaultMode: 0o444}})
	i.side.VolumeMounts = append(i.side.VolumeMounts, mount{Name: volume, MountPath: dir, ReadOnly: true})
	i.setOption("tls-cert", dir+"/tls.crt")
	i.setOption("tls-key", dir+"/tls.key")
	if i.set.options["app-ca"] == nil {
		i.setOption("app-ca", dir+"/tls.crt")
	}
	i.scheme = "https"
	return nil
}

// credentials mounts what Google asks for, where the platform does not give it by itself.
func (i *injection) credentials() error {
	if i.set.googleSecret == "" && i.set.googleFederation == "" {
		return nil
	}
	const dir = "/openreplay-sidecar/google"
	volume := volumeOut{Name: volumeName + "google"}
	file := dir + "/key.json"
	if i.set.googleFederation != "" {
		file = dir + "/credentials.json"
		volume.Projected = &projected{Sources: []map[string]any{
			{"configMap": map[string]any{"name": i.set.googleFederation}},
			{"serviceAccountToken": map[string]any{"path": "token", "audience": i.set.googleAudience}},
		}}
		if i.set.googleAudience == "" {
			return skipf(BadSetting, "%sgoogle-federation needs %sgoogle-audience: the audience of the provider in credentials.json, without https:", Prefix, Prefix)
		}
	} else {
		volume.Secret = &secretOut{SecretName: i.set.googleSecret, DefaultMode: 0o444}
	}
	i.volumes = append(i.volumes, volume)
	i.side.VolumeMounts = append(i.side.VolumeMounts, mount{Name: volume.Name, MountPath: dir, ReadOnly: true})
	i.side.Env = append(i.side.Env, envOut{Name: "GOOGLE_APPLICATION_CREDENTIALS", Value: file})
	return nil
}

// shareSessions mounts the address of the server through which pods share what they learn of sessions.
func (i *injection) shareSessions() error {
	if i.set.sharedSessions == "" {
		return nil
	}
	const dir = "/openreplay-sidecar/sessions"
	volume := volumeName + "sessions"
	i.volumes = append(i.volumes, volumeOut{Name: volume, Secret: &secretOut{SecretName: i.set.sharedSessions, DefaultMode: 0o444}})
	i.side.VolumeMounts = append(i.side.VolumeMounts, mount{Name: volume, MountPath: dir, ReadOnly: true})
	i.setOption("shared-sessions", dir+"/shared-sessions")
	return nil
}

func (i *injection) setOption(flag, value string) { i.set.options[flag] = []string{value} }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
