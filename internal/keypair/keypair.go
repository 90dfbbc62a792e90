// Package keypair reads a TLS certificate again when its files change.
package keypair

import (
	"crypto/tls"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A KeyPair is a certificate and its key in PEM files that others renew. What cannot be read, or of which one half is not
// there yet, leaves the former one in use.
type KeyPair struct {
	cert, key string
	log       *zap.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	stamp  [2]time.Time // of the files that were loaded last, or that failed to
	looked time.Time
}

// LookEvery is how long a new certificate may wait to be used.
const LookEvery = time.Second

// New reads the pair for the first time.
func New(cert, key string, log *zap.Logger) (*KeyPair, error) {
	k := &KeyPair{cert: cert, key: key, log: log}
	k.stamp, _ = k.stamps() // before the load, so that no change in between is missed
	if err := k.load(); err != nil {
		return nil, err
	}
	k.looked = time.Now()
	return k, nil
}

// Certificate is for tls.Config.GetCertificate: it looks at the files when a client comes, once in LookEvery at most.
func (k *KeyPair) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.looked) < LookEvery {
		return k.loaded, nil
	}
	k.looked = time.Now()
	stamp, err := k.stamps()
	if err == nil && stamp != k.stamp {
		if err = k.load(); err == nil {
			k.log.Info("the certificate for clients was renewed", zap.String("path", k.cert))
		}
		k.stamp = stamp
	}
	if err != nil {
		k.log.Error("the certificate for clients cannot be renewed; the former one stays in use", zap.Error(err))
	}
	return k.loaded, nil
}

func (k *KeyPair) load() error {
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err == nil {
		k.loaded = &pair
	}
	return err
}

func (k *KeyPair) stamps() (stamp [2]time.Time, err error) {
	for i, path := range []string{k.cert, k.key} {
		info, err := os.Stat(path)
		if err != nil {
			return stamp, err
		}
		stamp[i] = info.ModTime()
	}
	return stamp, nil
}
