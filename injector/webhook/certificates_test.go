package webhook

import (
	"bytes"
	"crypto/x509"
	"slices"
	"testing"
	"time"
)

// TestACertificateIsBelievedBeforeItIsShown plays forty days in steps of an hour. Whatever two replicas and the API server have last
// seen, each for at most the settling time, the certificate that is shown is one that the bundle vouches for.
func TestACertificateIsBelievedBeforeItIsShown(t *testing.T) {
	const hour = time.Hour
	c := certificates{lifetime: 9 * 24 * hour, settle: 2 * hour, names: []string{"injector.openreplay.svc"}}
	type state struct{ bundle, cert []byte }
	var seen []state // the latest last
	shown := 0
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for now := begin; now.Before(begin.Add(40 * 24 * hour)); now = now.Add(hour) {
		changed, err := c.advance(now)
		if err != nil {
			t.Fatal(err)
		}
		if changed && (len(seen) == 0 || !bytes.Equal(c.cert, seen[len(seen)-1].cert)) {
			shown++
		}
		if leaf, err := c.current(); err != nil || now.After(leaf.NotAfter) {
			t.Fatalf("%v: %v", now, err)
		}
		if n := len(authorities(c.bundle)); n > 2 {
			t.Fatalf("%v: the bundle has %d authorities", now, n)
		}
		seen = append(seen, state{slices.Clone(c.bundle), slices.Clone(c.cert)})
		for _, old := range seen[max(0, len(seen)-3):] {
			if !vouches(old.bundle, c.cert) || !vouches(c.bundle, old.cert) {
				t.Fatalf("%v: somebody who is behind does not believe", now)
			}
		}
	}
	if shown < 5 || shown > 8 { // each lasts two thirds of its lifetime
		t.Errorf("%d certificates were shown in forty days", shown)
	}
}

func vouches(bundle, cert []byte) bool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	leaf := parse(cert)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: leaf.NotBefore})
	return err == nil
}

// TestWhatCannotBeBelievedIsMadeAnew: somebody has edited the Secret, or restored an old one.
func TestWhatCannotBeBelievedIsMadeAnew(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fresh := func() certificates {
		c := certificates{lifetime: 90 * 24 * time.Hour, settle: time.Hour, names: []string{"injector.openreplay.svc"}}
		if _, err := c.advance(now); err != nil {
			t.Fatal(err)
		}
		return c
	}
	other := fresh()
	for name, spoil := range map[string]func(*certificates) time.Duration{
		"empty":            func(c *certificates) time.Duration { c.bundle, c.cert, c.key = nil, nil, nil; return 0 },
		"another's key":    func(c *certificates) time.Duration { c.key = other.key; return 0 },
		"another's bundle": func(c *certificates) time.Duration { c.bundle = other.bundle; return 0 },
		"for another name": func(c *certificates) time.Duration { c.names = []string{"injector.elsewhere.svc"}; return 0 },
		"long out of date": func(*certificates) time.Duration { return 100 * 24 * time.Hour },
		"no PEM":           func(c *certificates) time.Duration { c.cert = []byte("-----BEGIN"); return 0 },
	} {
		c := fresh()
		before := slices.Clone(c.cert)
		later := spoil(&c)
		changed, err := c.advance(now.Add(later))
		if err != nil || !changed || bytes.Equal(c.cert, before) {
			t.Errorf("%s: changed %v, %v", name, changed, err)
		}
		if _, err := c.current(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
