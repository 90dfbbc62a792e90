// Package conformance proves that nobody notices the proxy, with nothing but bytes on both of its sides.
//
// A case plays the client and the app by hand, so that no library hides what the proxy does. Cases know only an address to
// connect to and a listener to be the app on: they run against any reverse proxy, whatever engine it has.
//
//	go test ./e2e/conformance                          the sidecar's proxy, Go alone
//	go test -tags peers -run Peers -v ./e2e/conformance  nginx, haproxy and httputil beside it, as one table
package conformance
