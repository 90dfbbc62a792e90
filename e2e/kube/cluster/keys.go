package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// makeKeys writes what the parts of a cluster know each other by: one authority, a certificate for each, kubeconfigs, and
// the key of the service accounts.
func (c *Cluster) makeKeys(t testing.TB) {
	t.Helper()
	write := func(name, kind string, der []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(c.Dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must := func(der []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	serial := int64(0)
	template := func(subject pkix.Name) *x509.Certificate {
		serial++
		return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	}
	authority := template(pkix.Name{CommonName: "test"})
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	write("ca.crt", "CERTIFICATE", must(x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)))
	write("ca.key", "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(authorityKey)))
	sign := func(name string, cert *x509.Certificate) {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".crt", "CERTIFICATE", must(x509.CreateCertificate(rand.Reader, cert, authority, &key.PublicKey, authorityKey)))
		write(name+".key", "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(key)))
	}
	server := template(pkix.Name{CommonName: "kube-apiserver"})
	server.DNSNames = []string{"localhost", "kubernetes.default.svc"}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1), net.IPv4(10, 98, 0, 1)}
	sign("apiserver", server)
	for name, subject := range map[string]pkix.Name{
		"admin":              {CommonName: "admin", Organization: []string{"system:masters"}},
		"controller-manager": {CommonName: "system:kube-controller-manager"},
		"scheduler":          {CommonName: "system:kube-scheduler"},
	} {
		sign(name, template(subject))
		c.writeKubeconfig(t, name)
	}
	c.Kubeconfig = filepath.Join(c.Dir, "admin.kubeconfig")
	accounts, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	write("sa.key", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(accounts))
	write("sa.pub", "PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&accounts.PublicKey)))
}

func (c *Cluster) writeKubeconfig(t testing.TB, name string) {
	t.Helper()
	data := func(file string) string {
		b, err := os.ReadFile(filepath.Join(c.Dir, file))
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://%s", certificate-authority-data: %s}}]
users: [{name: u, user: {client-certificate-data: %s, client-key-data: %s}}]
`, apiAddress, data("ca.crt"), data(name+".crt"), data(name+".key"))
	if err := os.WriteFile(filepath.Join(c.Dir, name+".kubeconfig"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
