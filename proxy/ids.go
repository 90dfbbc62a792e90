package proxy

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// idHeaders knows the headers by which requests are told apart.
type idHeaders struct {
	main  string   // carries our ID
	other []string // carry further ones, in requests and answers
	trace bool     // traceparent is made where none came
}

// otherIDHeaders are the usual carriers, in the spelling of http.Header: those of load balancers, CDNs, tracers and
// frameworks.
var otherIDHeaders = []string{
	"X-Request-Id", "X-Correlation-Id", "Request-Id", "Correlation-Id", "X-Trace-Id", "Trace-Id", "X-Transaction-Id",
	"Traceparent", "B3", "X-B3-Traceid", "X-Cloud-Trace-Context", "X-Amzn-Trace-Id", "X-Amzn-Requestid", "X-Amz-Cf-Id",
	"Uber-Trace-Id", "X-Datadog-Trace-Id", "Sentry-Trace", "Cf-Ray", "X-Azure-Ref", "X-Vercel-Id", "Fly-Request-Id",
	"X-Debug-Token", "X-Error-Id", "X-Incident-Id",
}

func newIDHeaders(main string, trace bool) idHeaders {
	return idHeaders{main: http.CanonicalHeaderKey(main), other: otherIDHeaders, trace: trace}
}

// Where a request's ID is from, as metrics name it.
const (
	kept     = "kept"     // it came with the request
	made     = "made"     // none came
	replaced = "replaced" // what came cannot stand in a log line or a label, or is no single ID
)

// request is the request's ID, and where it is from.
func (h idHeaders) request(header http.Header) (id, origin string) {
	switch values := header[h.main]; {
	case len(values) == 0:
		return newID(), made
	case len(values) == 1 && validID(values[0]):
		return values[0], kept
	}
	return newID(), replaced
}

const maxID = 128

// validID says whether an ID that came may be used: 1 to 128 visible ASCII characters. Log lines, labels and headers can
// hold these without quoting.
func validID(id string) bool {
	return id != "" && len(id) <= maxID && visible(id)
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// newID is a UUID, version 4, as RFC 9562 has it. Go's generator is seeded by the system and cannot be foretold.
func newID() string {
	var u uuid.UUID
	binary.LittleEndian.PutUint64(u[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(u[8:], rand.Uint64())
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}

// complete adds the traceparent that is asked for and did not come.
func (h idHeaders) complete(header http.Header) {
	if _, came := header["Traceparent"]; h.trace && !came {
		header["Traceparent"] = []string{newTraceParent()}
	}
}

// newTraceParent is version-trace-parent-flags, as W3C Trace Context, 3.2.2 has it, where IDs of zeros alone are void.
func newTraceParent() string {
	return fmt.Sprintf("00-%016x%016x-%016x-00", max(rand.Uint64(), 1), rand.Uint64(), max(rand.Uint64(), 1))
}

// others appends the further IDs that a request brings.
func (h idHeaders) others(ids []string, header http.Header) []string {
	for _, name := range h.other {
		if name == h.main {
			continue
		}
		for _, value := range header[name] {
			ids = appendIDs(ids, name, value)
		}
	}
	return ids
}

// answered appends those of the answer, where the app may name its own under the main name too.
func (h idHeaders) answered(ids []string, header http.Header) []string {
	ids = h.others(ids, header)
	for _, value := range header[h.main] {
		ids = appendIDs(ids, h.main, value)
	}
	return ids
}

// maxIDs bounds what one exchange may hold; appendID leaves out what is there already.
const maxIDs = 16

func appendID(ids []string, id string) []string {
	if len(id) < 6 || !validID(id) || len(ids) >= maxIDs {
		return ids
	}
	for _, known := range ids {
		if known == id {
			return ids
		}
	}
	return append(ids, id)
}

// appendIDs takes the IDs out of a header's value. Those of tracers hold several fields, of which a log line shows the
// trace, and sometimes the span.
func appendIDs(ids []string, name, value string) []string {
	switch name {
	case "Traceparent": // W3C Trace Context: version-trace-parent-flags
		return appendTrace(ids, value, "-", 1, 2)
	case "B3": // one header: trace-span-sampled-parent; "0" alone says not to sample
		return appendTrace(ids, value, "-", 0, 1)
	case "Uber-Trace-Id": // Jaeger: trace:span:parent:flags
		return appendTrace(ids, value, ":", 0, 1)
	case "X-Cloud-Trace-Context": // Google: trace/span;o=options, the span in decimal; logs show it in hexadecimal
		value, _, _ = strings.Cut(value, ";")
		trace, span, _ := strings.Cut(value, "/")
		ids = appendTrace(ids, trace, "/", 0)
		if n, err := strconv.ParseUint(span, 10, 64); err == nil && n != 0 {
			ids = appendID(ids, fmt.Sprintf("%016x", n))
		}
		return ids
	case "Sentry-Trace": // trace-span-sampled
		return appendTrace(ids, value, "-", 0, 1)
	case "Cf-Ray": // Cloudflare: ray-datacentre; tools show the ray alone
		return appendID(appendTrace(ids, value, "-", 0), value)
	case "X-Amzn-Trace-Id": // AWS: Root=1-...;Parent=...;Sampled=1
		for field := range strings.SplitSeq(value, ";") {
			if key, id, _ := strings.Cut(strings.TrimSpace(field), "="); key == "Root" || key == "Self" {
				ids = appendID(ids, id)
			}
		}
		return ids
	}
	return appendID(ids, strings.TrimSpace(value))
}

func appendTrace(ids []string, value, separator string, wanted ...int) []string {
	fields := strings.Split(value, separator)
	for _, i := range wanted {
		if i < len(fields) && strings.Trim(fields[i], "0") != "" {
			ids = appendID(ids, fields[i])
		}
	}
	return ids
}
