package proxy

import (
	"net/url"
	"strings"
	"testing"
)

func TestLocalOnly(t *testing.T) {
	r := newRefusal(LocalOnlyPaths())
	for _, target := range []string{
		"/server-status", "/server-status?auto", "/server-status/", "/Server-Status", "//server-status", "/./server-status",
		"/x/../server-status", "/%73erver-status", "/%2573erver-status", "/server-status%3Fauto", `\server-status`, "/server-status#x",
		"/manager/html", "/manager/html/list", "/;a=b/manager/html", "/manager;a/html", "/..;/manager/html", "/x/..;/manager/html",
		"/manager%2fhtml", "/manager//html", "/manager/./html", "/MANAGER/jmxproxy/?get=x", "/%2e%2e/server-info",
	} {
		if !r.matches(target) {
			t.Errorf("%s was let through", target)
		}
	}
	for _, target := range []string{"/", "*", "/manager", "/manager/", "/managers/html", "/server-status-page", "/blog/server-status",
		"/search?q=/server-status", "/100%", "/manager/orders"} {
		if r.matches(target) {
			t.Errorf("%s was refused", target)
		}
	}
}

func TestLocalOnlyIsConfigurable(t *testing.T) {
	if newRefusal([]string{""}).matches("/server-status") || newRefusal([]string{}).matches("/server-status") {
		t.Error("refused although nothing is to be")
	}
	r := newRefusal([]string{" /Admin/ "})
	if !r.matches("/admin") || !r.matches("/admin/x") || r.matches("/administrator") {
		t.Error("the configured path is not what is refused")
	}
}

// However a refused path is written, whoever decodes it as often as he likes must not find it let through.
func FuzzLocalOnly(f *testing.F) {
	for _, seed := range []string{"/server-status", "/%73erver-status", "/a/..;/server-status", "//server-status", "/%2573erver-status"} {
		f.Add(seed)
	}
	r := newRefusal([]string{"/server-status"})
	f.Fuzz(func(t *testing.T, target string) {
		read := target
		for range 3 {
			if path, _, _ := strings.Cut(read, "?"); strings.EqualFold(path, "/server-status") && !r.matches(target) {
				t.Fatalf("%q is %q to the app, and was let through", target, read)
			}
			next, err := url.PathUnescape(read)
			if err != nil {
				return
			}
			read = next
		}
	})
}
