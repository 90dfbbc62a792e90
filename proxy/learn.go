package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

// learn takes from the answer's head what the report and the next requests need, and takes out what ends at this hop.
func (x *exchange) learn(resp *http.Response) {
	h := resp.Header
	x.Head, x.Status = time.Now(), resp.StatusCode
	x.IDs = x.proxy.ids.answered(x.IDs, h)
	eventStream := strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
	x.answer.instant = eventStream || isGRPC(h)
	x.Streams = eventStream || resp.StatusCode == http.StatusSwitchingProtocols
	x.answer.resp = resp
	x.track(resp)
	if resp.StatusCode >= 500 {
		x.answer.page = newErrorPage(h)
	}
	for _, value := range h["Keep-Alive"] {
		x.proxy.app.learn(value)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		stripAnswer(h, resp.StatusCode)
	}
	x.preflight.allow(resp)
	x.tellBrowser(resp)
	if x.proxy.config.AnswerRequestID {
		h[x.proxy.ids.main] = []string{x.ID}
	}
	x.proxy.update(x)
}

// failed is the answer where the app gave none. It tells the client nothing that it would not see without the proxy.
func (x *exchange) failed(err error) *http.Response {
	if x.Err() != nil {
		panic(http.ErrAbortHandler) // nobody is there to read it
	}
	status, reason := http.StatusBadGateway, "broken"
	var timeout net.Error
	var dial *net.OpError
	switch {
	case x.body.broken():
		status, reason = http.StatusBadRequest, "client"
	case errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded):
		status, reason = http.StatusGatewayTimeout, "timeout"
	case errors.As(err, &dial) && dial.Op == "dial":
		reason = "dial"
	}
	x.proxy.metrics.failed(reason)
	x.proxy.log.Debug("the app gave no answer", zap.String("requestId", x.ID), zap.Error(err))
	text := http.StatusText(status) + "\n"
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(text)),
		Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Cache-Control": {"no-store"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
		Body:   io.NopCloser(strings.NewReader(text)),
	}
}
