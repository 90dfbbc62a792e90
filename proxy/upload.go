package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// upload is a request's body on its way to the app. It remembers how far it got: a request of which nothing was read may
// be sent again, and a connection whose request was not read to its end must not be used for another one, for its rest
// would be taken for the next request.
type upload struct {
	body io.ReadCloser // nil where there is none

	mu     sync.Mutex
	began  bool
	eof    bool
	failed bool // the client's end broke off or was malformed
	sealed bool

	expects *expectation // nil where the client does not wait for 100 Continue
}

// An expectation is what a client has that wants to be asked for its body. http.Transport begins to read the body also
// when the app has refused it, and reading is what asks the client.
type expectation struct {
	since  time.Time
	agreed atomic.Bool   // the app has said 100
	over   chan struct{} // closed when the exchange is over
}

// mayAsk says whether the app wants the body: it said so, or kept silent for the time after which RFC 9110, 10.1.1 lets a
// client begin.
func (e *expectation) mayAsk() bool { return e.agreed.Load() || time.Since(e.since) >= continueAfter }

const continueAfter = time.Second

var errSealed = errors.New("the exchange is over")

// newUpload takes the body's place in r, and takes http.Transport the possibility to send r twice. In HTTP/2 it does so only
// where the app said that it did not look at the request.
func newUpload(r *http.Request, h2 bool) *upload {
	u := &upload{eof: true}
	switch {
	case r.ContentLength != 0:
		u.body, u.eof = r.Body, false
		r.Body = u
		if hasToken(r.Header["Expect"], "100-continue") {
			u.expects = &expectation{since: time.Now(), over: make(chan struct{})}
		}
	case !h2:
		// With no body at all it may. With this one it sends the same bytes, no length included, and may not.
		r.Body, r.TransferEncoding = nothing{}, []string{"identity"}
		if length, ok := r.Header["Content-Length"]; ok {
			delete(r.Header, "Content-Length")
			r.Header["Content-length"] = length // the transport leaves out the other spelling
		}
	}
	return u
}

func (u *upload) Read(p []byte) (int, error) {
	if u.expects != nil && !u.expects.mayAsk() {
		<-u.expects.over // an error would make the transport drop the app's answer
	}
	u.mu.Lock()
	sealed := u.sealed
	u.began = true
	u.mu.Unlock()
	if sealed {
		return 0, errSealed
	}
	n, err := u.body.Read(p)
	if err != nil {
		u.mu.Lock()
		u.eof, u.failed = err == io.EOF, err != io.EOF
		u.mu.Unlock()
	}
	return n, err
}

// Close leaves the client's end alone: the HTTP server closes it.
func (u *upload) Close() error { return nil }

// untouched says whether nothing was read, so that the request can be sent once more.
func (u *upload) untouched() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.began
}

// complete says whether the client's body was read to its end.
func (u *upload) complete() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.eof
}

func (u *upload) broken() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed
}

// seal ends the reading. It is called once.
func (u *upload) seal() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sealed = true
	if u.expects != nil {
		close(u.expects.over)
	}
}

func (u *upload) agree() {
	if u.expects != nil {
		u.expects.agreed.Store(true)
	}
}

// nothing is an empty body that http.Transport does not know as such.
type nothing struct{}

func (nothing) Read([]byte) (int, error)         { return 0, io.EOF }
func (nothing) WriteTo(io.Writer) (int64, error) { return 0, nil }
func (nothing) Close() error                     { return nil }
