package injector

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// settings are what one Pod gets: its annotations over the defaults.
type settings struct {
	container          string
	appPorts, portEnvs []string
	traffic            string // name, env, redirect, or "" where listen and app are given by hand
	stdout             string // exec, node, or ""
	command            []string
	tlsSecret          string
	googleSecret       string
	googleFederation   string
	googleAudience     string
	sharedSessions     string
	image              string
	cpu, memory, limit string
	classic            bool

	options map[string][]string // of the sidecar, by flag
}

// A setting is an annotation that is not an option of the sidecar.
type setting struct {
	key   string // behind Prefix
	set   func(*settings, string) error
	usage string
}

func word(p func(*settings) *string, shape *regexp.Regexp, what string) func(*settings, string) error {
	return func(s *settings, v string) error {
		if !shape.MatchString(v) {
			return fmt.Errorf("should be %s", what)
		}
		*p(s) = v
		return nil
	}
}

var (
	nameShape     = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	envShape      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	quantityShape = regexp.MustCompile(`^[0-9]+(m|Ki|Mi|Gi|k|M|G)?$`)
	imageShape    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$`)
	anyShape      = regexp.MustCompile(`^\S+$`)
)

// own are the injector's annotations; every option of the sidecar is one too.
var own = []setting{
	{"container", word(func(s *settings) *string { return &s.container }, nameShape, "a container's name"),
		"the app's container; the first one that is no known sidecar"},
	{"app-port", func(s *settings, v string) error { s.appPorts = splitComma(v); return nil },
		"the app's ports, by name or number, with commas between them; where the app has one port, or one that is called http..., that one"},
	{"traffic", word(func(s *settings) *string { return &s.traffic }, regexp.MustCompile(`^(name|env|redirect)$`), "name, env or redirect"),
		"how requests get to the sidecar: `name` (default) takes over the port's name, `env` gives the app another port by a variable, `redirect` bends the port's traffic in the kernel and needs NET_ADMIN"},
	{"app-port-env", func(s *settings, v string) error { return setEnvs(s, v) },
		"the variables from which the app reads its ports, in the order of app-port; implies `traffic: env`"},
	{"stdout", word(func(s *settings) *string { return &s.stdout }, regexp.MustCompile(`^(exec|node)$`), "exec or node"),
		"also read what the app prints: `exec` starts it under `sidecar exec`, `node` reads the node's /var/log/pods, which only privileged namespaces allow"},
	{"command", func(s *settings, v string) error { return setCommand(s, v) },
		"for `stdout: exec`: the image's entrypoint as a JSON array, where the pod has no command"},
	{"tls-secret", word(func(s *settings) *string { return &s.tlsSecret }, nameShape, "a Secret's name"),
		"for an app that speaks TLS itself: the Secret of type kubernetes.io/tls with its certificate, which the sidecar shows to clients and expects of the app"},
	{"google-secret", word(func(s *settings) *string { return &s.googleSecret }, nameShape, "a Secret's name"),
		"a Secret with a service account's key as `key.json`, where there is no Workload Identity"},
	{"google-federation", word(func(s *settings) *string { return &s.googleFederation }, nameShape, "a ConfigMap's name"),
		"a ConfigMap with an external account's `credentials.json`: Workload Identity Federation, for clusters outside Google"},
	{"google-audience", word(func(s *settings) *string { return &s.googleAudience }, anyShape, "one word"),
		"the audience of the token for google-federation"},
	{"shared-sessions-secret", word(func(s *settings) *string { return &s.sharedSessions }, nameShape, "a Secret's name"),
		"a Secret with `shared-sessions`, the file that the option of this name takes: all pods with it share what they learn of sessions"},
	{"native-sidecar", func(s *settings, v string) (err error) {
		native, err := strconv.ParseBool(v)
		s.classic = !native
		return err
	}, "`false`: an ordinary container, for nodes before 1.29"},
	{"image", word(func(s *settings) *string { return &s.image }, imageShape, "an image"), "the sidecar's image"},
	{"cpu-request", word(func(s *settings) *string { return &s.cpu }, quantityShape, "a quantity such as 10m"), "the sidecar's share of a CPU; it never has a limit"},
	{"memory-request", word(func(s *settings) *string { return &s.memory }, quantityShape, "a quantity such as 32Mi"), "the sidecar's memory"},
	{"memory-limit", word(func(s *settings) *string { return &s.limit }, regexp.MustCompile(`^[0-9]+(Mi|Gi)$`), "a quantity such as 128Mi"), "its limit, from which GOMEMLIMIT is set"},
}

func splitComma(v string) (out []string) {
	for _, s := range strings.Split(v, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func setEnvs(s *settings, v string) error {
	s.portEnvs = splitComma(v)
	for _, e := range s.portEnvs {
		if !envShape.MatchString(e) {
			return fmt.Errorf("should be a variable's name")
		}
	}
	return nil
}

func setCommand(s *settings, v string) error {
	if json.Unmarshal([]byte(v), &s.command) != nil || len(s.command) == 0 || s.command[0] == "" {
		return fmt.Errorf(`should be a JSON array such as ["java","-jar","/app.jar"]`)
	}
	return nil
}

// readSettings takes a Pod's annotations. One that nobody knows is warned of; a value that is wrong ends the injection,
// because a sidecar that does not start would hold the app back.
func readSettings(p *pod, d Defaults, warn func(string, ...any)) (settings, error) {
	s := settings{image: d.Image, cpu: d.CPU, memory: d.Memory, limit: d.Limit, classic: d.Classic, options: map[string][]string{}}
	for flag, text := range d.Options {
		s.options[flag] = options[flag].values(text)
	}
	for _, key := range slices.Sorted(maps.Keys(p.Metadata.Annotations)) {
		name, ok := strings.CutPrefix(key, Prefix)
		if !ok || key == AskKey || key == StatusKey {
			continue
		}
		if err := s.take(name, p.Metadata.Annotations[key], warn); err != nil {
			return s, err
		}
	}
	if err := checkOptions(s.options); err != nil {
		return s, skipf(BadSetting, "%v", err)
	}
	if len(s.portEnvs) > 0 && s.traffic == "" {
		s.traffic = "env"
	}
	if s.traffic == "env" && len(s.portEnvs) == 0 {
		s.portEnvs = []string{"PORT"}
	}
	if s.traffic == "" && s.options["listen"] == nil && s.options["ports"] == nil {
		s.traffic = "name"
	}
	return s, nil
}

func (s *settings) take(name, text string, warn func(string, ...any)) error {
	if at := slices.IndexFunc(own, func(o setting) bool { return o.key == name }); at >= 0 {
		if err := own[at].set(s, text); err != nil {
			return skipf(BadSetting, "%s%s is %q: %v", Prefix, name, text, err)
		}
		return nil
	}
	o, ok := options[name]
	switch {
	case slices.Contains(ours, name):
		warn("%s%s is passed over: the injector sets it", Prefix, name)
	case ok:
		s.options[name] = o.values(text)
	default:
		warn("%s%s is no setting%s", Prefix, name, nearest(name))
	}
	return nil
}

// nearest names what was probably meant.
func nearest(name string) string {
	known := slices.Sorted(maps.Keys(options))
	for _, o := range own {
		known = append(known, o.key)
	}
	best, most := "", 0.6
	for _, k := range known {
		if likeness := alike(name, k); likeness > most {
			best, most = k, likeness
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + Prefix + best + "?"
}

// alike is how much of two words is the same: their pairs of neighbouring letters, after Dice.
func alike(a, b string) float64 {
	pairs := map[string]int{}
	for i := range len(a) - 1 {
		pairs[a[i:i+2]]++
	}
	same := 0
	for i := range len(b) - 1 {
		if pairs[b[i:i+2]] > 0 {
			pairs[b[i:i+2]]--
			same++
		}
	}
	return 2 * float64(same) / float64(max(1, len(a)+len(b)-2))
}

// CheckDefaults says what is wrong with the operator's defaults.
func CheckDefaults(d Defaults) error {
	set := map[string][]string{}
	for _, flag := range slices.Sorted(maps.Keys(d.Options)) {
		o, ok := options[flag]
		if !ok || slices.Contains(ours, flag) {
			return fmt.Errorf("options: %s is no option that can be a default%s", flag, nearest(flag))
		}
		set[flag] = o.values(d.Options[flag])
	}
	if err := checkOptions(set); err != nil {
		return fmt.Errorf("options: %w", err)
	}
	for what, v := range map[string]string{"cpuRequest": d.CPU, "memoryRequest": d.Memory, "memoryLimit": d.Limit} {
		if !quantityShape.MatchString(v) {
			return fmt.Errorf("%s: %q is no quantity", what, v)
		}
	}
	if !imageShape.MatchString(d.Image) {
		return fmt.Errorf("image: %q is no image", d.Image)
	}
	return nil
}
