package webhook

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// The certificates of the webhook are the Secret's data. Each change takes three steps, so that the API server believes
// in a certificate before anybody shows it, whatever each replica has seen by then:
//
//  1. a new authority and a certificate of it lie ready, and the authority is in the bundle beside the old one;
//  2. after the settling time, everybody shows the new certificate;
//  3. after another one, the old authority leaves the bundle.
//
// An authority signs one certificate, and its key is thrown away at once.
type certificates struct {
	bundle            []byte // the authorities, in PEM; the newest first
	cert, key         []byte // what is shown
	nextCert, nextKey []byte // what will be
	lifetime, settle  time.Duration
	names             []string // of the Service
}

// The Secret's keys. The first two are those of a Secret of type kubernetes.io/tls.
const (
	certKey, keyKey         = "tls.crt", "tls.key"
	nextCertKey, nextKeyKey = "next-tls.crt", "next-tls.key"
	bundleKey               = "ca.crt"
)

func readCertificates(data map[string][]byte) certificates {
	return certificates{
		bundle: data[bundleKey], cert: data[certKey], key: data[keyKey], nextCert: data[nextCertKey], nextKey: data[nextKeyKey],
	}
}

func (c *certificates) data() map[string][]byte {
	return map[string][]byte{
		bundleKey: c.bundle, certKey: c.cert, keyKey: c.key, nextCertKey: c.nextCert, nextKeyKey: c.nextKey,
	}
}

// advance does the step that is due, and says whether one was.
func (c *certificates) advance(now time.Time) (changed bool, err error) {
	shown, err := c.current()
	if err != nil || now.After(shown.NotAfter) { // nothing that could be believed: begin anew
		return true, c.beginAnew(now)
	}
	next := parse(c.nextCert)
	switch age := now.Sub(madeAt(shown)); {
	case next != nil && now.Sub(madeAt(next)) >= c.settle:
		c.cert, c.key, c.nextCert, c.nextKey = c.nextCert, c.nextKey, nil, nil
		return true, nil
	case next != nil:
		return false, nil
	case age >= c.lifetime*2/3:
		return true, c.prepare(now)
	case age >= 2*c.settle && len(authorities(c.bundle)) > 1:
		c.bundle = first(c.bundle)
		return true, nil
	}
	return false, nil
}

func (c *certificates) beginAnew(now time.Time) error {
	authority, cert, key, err := c.pair(now)
	c.bundle, c.cert, c.key, c.nextCert, c.nextKey = authority, cert, key, nil, nil
	return err
}

func (c *certificates) prepare(now time.Time) error {
	authority, cert, key, err := c.pair(now)
	c.bundle, c.nextCert, c.nextKey = append(authority, first(c.bundle)...), cert, key
	return err
}

// current gives the shown certificate, if the bundle vouches for it and its key belongs to it.
func (c *certificates) current() (*x509.Certificate, error) {
	pair, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.bundle)
	for _, name := range c.names {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: pair.Leaf.NotBefore}); err != nil {
			return nil, err
		}
	}
	return pair.Leaf, nil
}

// skew is how far a clock may be behind.
const skew = 5 * time.Minute

func madeAt(c *x509.Certificate) time.Time { return c.NotBefore.Add(skew) }

// pair makes an authority and a certificate of it.
func (c *certificates) pair(now time.Time) (authority, cert, key []byte, err error) {
	template := func(name string) *x509.Certificate {
		serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
		return &x509.Certificate{
			SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"openreplay-sidecar"}},
			NotBefore: now.Add(-skew), NotAfter: now.Add(c.lifetime), BasicConstraintsValid: true,
		}
	}
	root := template(fmt.Sprintf("injector-ca-%d", now.Unix()))
	root.IsCA, root.KeyUsage = true, x509.KeyUsageCertSign
	leaf := template(c.names[0])
	leaf.DNSNames, leaf.ExtKeyUsage, leaf.KeyUsage = c.names, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, x509.KeyUsageDigitalSignature

	rootKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	leafKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, nil, err
	}
	rootDER, err1 := x509.CreateCertificate(rand.Reader, root, root, &rootKey.PublicKey, rootKey)
	leafDER, err2 := x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, rootKey)
	keyDER, err3 := x509.MarshalECPrivateKey(leafKey)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, nil, fmt.Errorf("make a certificate: %w", err)
	}
	return inPEM("CERTIFICATE", rootDER), inPEM("CERTIFICATE", leafDER), inPEM("EC PRIVATE KEY", keyDER), nil
}

func inPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// authorities are a bundle's parts.
func authorities(bundle []byte) (out [][]byte) {
	for {
		block, rest := pem.Decode(bundle)
		if block == nil {
			return out
		}
		out, bundle = append(out, pem.EncodeToMemory(block)), rest
	}
}

func first(bundle []byte) []byte {
	if all := authorities(bundle); len(all) > 0 {
		return bytes.Clone(all[0])
	}
	return nil
}

func parse(cert []byte) *x509.Certificate {
	block, _ := pem.Decode(cert)
	if block == nil {
		return nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return c
}
