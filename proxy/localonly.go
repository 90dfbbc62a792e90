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
		"/server-status", "/server-info", // Apache: Require local
		"/balancer-manager",                                                      // Apache mod_proxy_balancer
		"/manager/html", "/manager/text", "/manager/jmxproxy", "/manager/status", // Tomcat: RemoteAddrValve
		"/host-manager/html", "/host-manager/text", // Tomcat
		"/nginx_status", "/stub_status", // nginx: allow 127.0.0.1
		"/fpm-status", "/fpm-ping", "/php-fpm-status", // PHP-FPM, as its documentation names them
		"/rails/info", "/rails/mailers", "/rails/conductor", "/letter_opener", // Rails: local requests
		"/__web_console", "/__better_errors", // Rails consoles: run code for local clients
		"/_profiler", "/app_dev.php", // Symfony front controller for local clients
		"/trace.axd", "/elmah.axd", // ASP.NET: localOnly
		"/h2-console",                  // H2: webAllowOthers=false
		"/solr/admin",                  // Solr before it had authentication
		"/jmx-console", "/web-console", // JBoss before 7
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
// out; then slashes joined and dots resolved.
func forms(target string) []string {
	var out []string
	for range 4 {
		clean := strings.ReplaceAll(strings.ToLower(target), `\`, "/")
		out = append(out, path.Clean("/"+clean), path.Clean("/"+withoutParameters(clean)))
		before, _, _ := strings.Cut(clean, "#")
		out = append(out, path.Clean("/"+withoutParameters(before)))
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
