package proxy

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// LocalOnlyPaths are the paths that common servers show to their own machine alone by default. Behind the proxy every
// client comes from there, so that they would open to the world.
func LocalOnlyPaths() []string {
	return []string{
		"/server-status", "/server-info", "/balancer-manager", // Apache: Require local, in its distributions' set-ups
		"/manager/html", "/manager/text", "/manager/status", "/manager/jmxproxy", // Tomcat: RemoteAddrValve
		"/host-manager/html", "/host-manager/text",
		"/nginx_status", "/stub_status", "/basic_status", // nginx: allow 127.0.0.1
		"/fpm-status", "/fpm-ping", // PHP-FPM behind either
		"/munin",                                            // Debian's: Require local
		"/rails/info", "/rails/mailers", "/rails/conductor", // Rails: local requests
		"/__web_console", "/__better_errors", // Rails consoles, which run code
		"/__debug__",               // Django's toolbar: INTERNAL_IPS
		"/trace.axd", "/elmah.axd", // ASP.NET: localOnly, allowRemoteAccess=0
		"/app_dev.php", // Symfony's front controller for development
		"/h2-console",  // H2: webAllowOthers=false
	}
}

// refusal knows the paths that are refused with everything below them.
type refusal struct{ paths []string }

func newRefusal(paths []string) refusal {
	var r refusal
	for _, p := range paths {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		r.paths = append(r.paths, forms(p)...)
	}
	slices.Sort(r.paths)
	r.paths = slices.Compact(r.paths)
	return r
}

// matches says whether any server might take the target for a refused path. Servers differ in what they decode, fold and
// leave out, so each reading is tried, and upper and lower case are one.
func (r refusal) matches(target string) bool {
	if len(r.paths) == 0 {
		return false
	}
	target, _, _ = strings.Cut(target, "?")
	if plain(target) {
		return r.below(strings.ToLower(target))
	}
	for _, form := range forms(target) {
		if r.below(form) {
			return true
		}
	}
	return false
}

// plain paths have one reading only.
func plain(target string) bool {
	return !strings.ContainsAny(target, `%;\#`) && !strings.Contains(target, "//") && !strings.Contains(target, "/.")
}

func (r refusal) below(p string) bool {
	for _, refused := range r.paths {
		if rest, ok := strings.CutPrefix(p, refused); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// forms are the ways to read a path: as it stands and decoded up to three times; path parameters (";jsessionid=1") left
// out, and what is a query or a fragment once it is decoded; then slashes joined and dots resolved.
func forms(target string) []string {
	var out []string
	for range 4 {
		clean := strings.ReplaceAll(strings.ToLower(target), `\`, "/")
		out = append(out, path.Clean("/"+clean), path.Clean("/"+withoutParameters(clean)))
		if i := strings.IndexAny(clean, "?#"); i >= 0 {
			out = append(out, path.Clean("/"+withoutParameters(clean[:i])))
		}
		decoded := decode(target)
		if decoded == target {
			break
		}
		target = decoded
	}
	return out
}

func withoutParameters(p string) string {
	segments := strings.Split(p, "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	return strings.Join(segments, "/")
}

// decode takes the escapes that are valid, and leaves the others.
func decode(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '%' && i+2 < len(p) {
			if c, err := url.PathUnescape(p[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(p[i])
	}
	return b.String()
}
