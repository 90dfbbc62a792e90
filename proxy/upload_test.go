package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// http.Transport sends a request again when its body is nil or http.NoBody, or when it can get another one.
func TestNoRequestCanBeReplayed(t *testing.T) {
	for _, major := range []int{1, 2} {
		for name, body := range map[string]io.ReadCloser{"none": http.NoBody, "some": io.NopCloser(strings.NewReader("ok"))} {
			r := &http.Request{ProtoMajor: major, Header: http.Header{}, Body: body}
			if name == "some" {
				r.ContentLength = 2
			}
			newUpload(r, false)
			if r.Body == nil || r.Body == http.NoBody || r.GetBody != nil {
				t.Errorf("HTTP/%d, body %s: it could", major, name)
			}
		}
	}
}

func TestASealedUploadGivesNothing(t *testing.T) {
	r := &http.Request{ProtoMajor: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok")), ContentLength: 2}
	u := newUpload(r, false)
	if !u.untouched() || u.complete() {
		t.Error("it was read before it was read")
	}
	u.seal()
	if n, err := r.Body.Read(make([]byte, 2)); n != 0 || err != errSealed {
		t.Errorf("%d, %v", n, err)
	}
}
