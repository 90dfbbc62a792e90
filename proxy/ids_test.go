package proxy

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestRequestID(t *testing.T) {
	h := newIDHeaders("X-Request-ID", false)
	for _, c := range []struct {
		came []string
		want string // "" is a new one
		from string
	}{
		{nil, "", made},
		{[]string{"a"}, "a", kept},
		{[]string{`My/Odd:Id="1",{}`}, `My/Odd:Id="1",{}`, kept},
		{[]string{strings.Repeat("x", 128)}, strings.Repeat("x", 128), kept},
		{[]string{strings.Repeat("x", 129)}, "", replaced},
		{[]string{""}, "", replaced},
		{[]string{"two words"}, "", replaced},
		{[]string{"caf\xe9"}, "", replaced},
		{[]string{"a\x1b[31m"}, "", replaced},
		{[]string{"a", "b"}, "", replaced},
		{[]string{"a", "a"}, "", replaced},
	} {
		id, from := h.request(http.Header{"X-Request-Id": c.came})
		if c.want == "" {
			if u, err := uuid.Parse(id); err != nil || u.Version() != 4 || u.Variant() != uuid.RFC4122 {
				t.Errorf("%q: made %q: %v", c.came, id, err)
			}
		} else if id != c.want {
			t.Errorf("%q became %q", c.came, id)
		}
		if from != c.from {
			t.Errorf("%q is %s", c.came, from)
		}
	}
}

func TestOtherIDs(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        []string
	}{
		{"X-Correlation-ID", "order-77-a", []string{"order-77-a"}},
		{"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", []string{"4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"}},
		{"b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90", []string{"80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"}},
		{"b3", "0", nil},
		{"X-Cloud-Trace-Context", "105445aa7843bc8bf206b12000100000/1;o=1", []string{"105445aa7843bc8bf206b12000100000", "0000000000000001"}},
		{"X-Amzn-Trace-Id", "Self=1-67891234-12456789abcdef012345678;Root=1-67891233-abcdef012345678912345678;Sampled=1",
			[]string{"1-67891234-12456789abcdef012345678", "1-67891233-abcdef012345678912345678"}},
		{"uber-trace-id", "5be71e5c1d3a4f2b:3c1f:0:1", []string{"5be71e5c1d3a4f2b"}},
		{"CF-Ray", "230b030023ae2822-SJC", []string{"230b030023ae2822", "230b030023ae2822-SJC"}},
		{"X-Trace-Id", "12", nil}, // too short to be anybody's own
		{"X-Trace-Id", "two words here", nil},
		{"traceparent", "00-00000000000000000000000000000000-0000000000000000-00", nil},
		{"X-Unknown", "abcdefgh", nil},
	} {
		h := http.Header{}
		h.Set(c.name, c.value)
		if diff := cmp.Diff(c.want, newIDHeaders("X-Request-ID", false).others(nil, h)); diff != "" {
			t.Errorf("%s: %s: %s", c.name, c.value, diff)
		}
	}
}

func TestTraceParentIsMadeWhereAskedAndNoneCame(t *testing.T) {
	const came = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	valid := regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-00$`)
	for _, c := range []struct {
		asked bool
		came  []string
		kept  bool
	}{
		{true, nil, false},
		{true, []string{came}, true},
		{true, []string{""}, true},
		{true, []string{came, "odd"}, true},
		{false, nil, true},
		{false, []string{came}, true},
	} {
		h := http.Header{}
		if c.came != nil {
			h["Traceparent"] = c.came
		}
		ids := newIDHeaders("X-Request-ID", c.asked)
		ids.complete(h)
		if c.kept {
			if diff := cmp.Diff(c.came, h["Traceparent"]); diff != "" {
				t.Errorf("asked %v, %q came: %s", c.asked, c.came, diff)
			}
			continue
		}
		parts := valid.FindStringSubmatch(h.Get("Traceparent"))
		if parts == nil {
			t.Errorf("made %q", h["Traceparent"])
		} else if diff := cmp.Diff(parts[1:], ids.others(nil, h)); diff != "" {
			t.Error(diff)
		}
	}
	if a, b := newTraceParent(), newTraceParent(); a == b {
		t.Errorf("%s was made twice", a)
	}
}

func TestIDsAreFewAndDifferent(t *testing.T) {
	var ids []string
	for i := range 100 {
		ids = appendID(ids, strings.Repeat("a", 6+i%50))
	}
	if len(ids) != maxIDs {
		t.Errorf("there are %d", len(ids))
	}
}

func FuzzIDs(f *testing.F) {
	for _, name := range otherIDHeaders {
		f.Add(name, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		for _, id := range appendIDs(nil, http.CanonicalHeaderKey(name), value) {
			if !validID(id) || !strings.Contains(value, id) {
				t.Errorf("%q gave %q", value, id)
			}
		}
	})
}

func TestIDsOfAnErrorPage(t *testing.T) {
	page := newErrorPage(http.Header{})
	for _, piece := range []string{"<p>Error at 2024-01-02, code 500. Your reference: 6f1e2", "d3c-aaaa-4bbb-8ccc-1234567890ab, span</p>",
		strings.Repeat(" ", maxPage), "too-late-12345678"} {
		page.add([]byte(piece))
	}
	if diff := cmp.Diff([]string{"6f1e2d3c-aaaa-4bbb-8ccc-1234567890ab"}, page.ids(nil)); diff != "" {
		t.Error(diff)
	}
}

func TestIDsOfACompressedErrorPage(t *testing.T) {
	page := newErrorPage(http.Header{"Content-Encoding": {"gzip"}})
	text := zipped(t, "reference 6f1e2d3c9a"+strings.Repeat(" padding", 5000))
	page.add(text[:len(text)-10]) // what was copied may end anywhere
	if diff := cmp.Diff([]string{"6f1e2d3c9a"}, page.ids(nil)); diff != "" {
		t.Error(diff)
	}
}

func FuzzErrorPage(f *testing.F) {
	f.Add([]byte("<b>abc-12345678</b>"), false)
	f.Add(zipped(f, "abc-12345678"), true)
	f.Fuzz(func(t *testing.T, text []byte, gzipped bool) {
		page := errorPage{wanted: true, gzipped: gzipped}
		page.add(text)
		for _, id := range page.ids(nil) {
			if !validID(id) {
				t.Errorf("%q", id)
			}
		}
	})
}
