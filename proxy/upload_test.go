package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// http.Transport, which speaks HTTP/2 to the app, sends a request again when it can get its body once more.
func TestNoBodyCanBeReplayed(t *testing.T) {
	r := &http.Request{ProtoMajor: 2, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok")), ContentLength: 2}
	newUpload(r)
	if r.Body == nil || r.Body == http.NoBody || r.GetBody != nil {
		t.Error("it could")
	}
}

func TestASealedUploadGivesNothing(t *testing.T) {
	r := &http.Request{ProtoMajor: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok")), ContentLength: 2}
	u := newUpload(r)
	if !u.untouched() || u.complete() {
		t.Error("it was read before it was read")
	}
	u.seal()
	if n, err := r.Body.Read(make([]byte, 2)); n != 0 || err != errSealed {
		t.Errorf("%d, %v", n, err)
	}
}
