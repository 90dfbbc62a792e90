package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// whoCalls is an app that says who called.
func whoCalls(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) }

func TestEachConnectionHasAnAddressOfItsOwn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8")
	}
	url := serveApp(t, whoCalls)
	o := newSeen()
	_, addr := start(t, Config{App: url, ConnectionAddress: true}, o)
	seen := map[netip.Addr]bool{}
	for range 5 {
		_, body := talk(t, addr, "GET / HTTP/1.1\nHost: shop\nAuthorization: NTLM x\n\n") // which has connections of its own
		from, err := netip.ParseAddrPort(body)
		if err != nil || !isOwn(from.Addr()) || seen[from.Addr()] {
			t.Errorf("the app was called from %s, after %v", body, seen)
		}
		seen[from.Addr()] = true
		if x := o.all()[len(o.all())-1]; x.Upstream != netip.AddrPortFrom(from.Addr(), 0) {
			t.Errorf("reported %v, and the app was called from %s", x.Upstream, body)
		}
	}
}

func TestAddressesComeOnceBeforeAnyComesAgain(t *testing.T) {
	o := newOwnAddresses()
	seen := make([]bool, ownCount)
	for range ownCount {
		a := o.next()
		b := a.As4()
		n := int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if !isOwn(a) || seen[n-firstOwn] {
			t.Fatalf("%s: not one of its own, or for the second time", a)
		}
		seen[n-firstOwn] = true
	}
}

func TestWhereAConnectionCannotHaveItsAddressRequestsGoOn(t *testing.T) {
	url := serveApp(t, whoCalls)
	core, said := observer.New(zap.WarnLevel)
	p, addr := start(t, Config{App: url, ConnectionAddress: true, Log: zap.New(core)}, newSeen())
	p.app.addresses.connect = func(context.Context, netip.Addr, string) (net.Conn, error) { return nil, errors.New("no such address") }
	for range 2 {
		if _, body := talk(t, addr, "GET / HTTP/1.1\nHost: shop\nAuthorization: NTLM x\n\n"); !strings.HasPrefix(body, "127.0.0.1:") {
			t.Errorf("the app was called from %s", body)
		}
	}
	if lost := testutil.ToFloat64(p.metrics.addressLost); lost != 2 || said.Len() != 1 {
		t.Errorf("counted %v times, said %v", lost, said.All())
	}
}

func TestConnectionAddressIsRefusedWhereItCannotWork(t *testing.T) {
	for app, refused := range map[string]bool{
		"http://127.0.0.1:8081": false, "https://localhost": false,
		"http://[::1]:8081": true, "unix:/run/app.sock": true, "http://10.0.0.1:8081": true,
	} {
		for _, c := range []Config{{App: app, ConnectionAddress: true}, {App: app, ConnectionAddress: true, KeepClientAddress: true}} {
			_, err := New(c, newSeen(), prometheus.NewRegistry())
			if refused := refused || c.KeepClientAddress; refused != (err != nil) {
				t.Errorf("%s, both %v: %v", app, c.KeepClientAddress, err)
			}
			if err != nil && !strings.Contains(err.Error(), "out") {
				t.Errorf("%v: no way out", err)
			}
		}
	}
}
