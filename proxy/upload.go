package proxy

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
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
	again  []byte // read, and not sent: it is read once more

	expects *expectation // nil where the client does not wait for 100 Continue
}

// An expectation is what a client has that wants to be asked for its body: reading the body is what asks it.
type expectation struct {
	since  time.Time
	agree  sync.Once
	agreed chan struct{} // closed when the app has said 100
	over   chan struct{} // closed when the exchange is over
}

// wait returns once the app wants the body: it said so, or kept silent for the time after which RFC 9110, 10.1.1 lets a
// client begin.
func (e *expectation) wait() {
	timer := time.NewTimer(continueAfter - time.Since(e.since))
	defer timer.Stop()
	select {
	case <-e.agreed:
	case <-e.over:
	case <-timer.C:
	}
}

const continueAfter = time.Second

var errSealed = errors.New("the exchange is over")

// newUpload takes the body's place in r, and takes http.Transport the possibility to send r twice. In HTTP/2 it does so only
// where the app said that it did not look at the request.
func newUpload(r *http.Request) *upload {
	if r.ContentLength == 0 {
		return &upload{eof: true}
	}
	u := &upload{body: r.Body}
	r.Body = u
	if hasToken(r.Header["Expect"], "100-continue") {
		u.expects = &expectation{since: time.Now(), agreed: make(chan struct{}), over: make(chan struct{})}
	}
	return u
}

func (u *upload) Read(p []byte) (int, error) {
	if u.expects != nil {
		u.expects.wait()
	}
	u.mu.Lock()
	sealed := u.sealed
	u.began = true
	n := copy(p, u.again)
	u.again = u.again[n:]
	u.mu.Unlock()
	switch {
	case sealed:
		return 0, errSealed
	case n > 0:
		return n, nil
	}
	n, err := u.body.Read(p)
	if err != nil {
		u.mu.Lock()
		u.eof, u.failed = err == io.EOF, err != io.EOF
		u.mu.Unlock()
	}
	return n, err
}

// unread takes back the first piece, of which nothing was sent. Whether the body ends with it the next Read finds again.
func (u *upload) unread(p []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.again, u.began, u.eof = slices.Clone(p), false, false
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
		u.expects.agree.Do(func() { close(u.expects.agreed) })
	}
}
