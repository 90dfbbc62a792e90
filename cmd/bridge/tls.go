package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A keyPair is a certificate and its key in files that are replaced before they expire.
type keyPair struct {
	certFile, keyFile string
	log               *zap.Logger

	mu      sync.Mutex
	looked  time.Time
	written [2]time.Time // when the files were, as of the last try
	pair    *tls.Certificate
}

// lookAgain is how long a new certificate may wait to be used.
const lookAgain = time.Second

func newKeyPair(certFile, keyFile string, log *zap.Logger) (*keyPair, error) {
	k := &keyPair{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now()}
	k.written = k.times()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	k.pair = &pair
	return k, nil
}

// certificate is for tls.Config.GetCertificate. A pair that cannot be read, or of which one half is not there yet, leaves
// the old one in use.
func (k *keyPair) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.looked) < lookAgain {
		return k.pair, nil
	}
	k.looked = time.Now()
	if now := k.times(); now != k.written {
		k.written = now
		k.load()
	}
	return k.pair, nil
}

func (k *keyPair) load() {
	pair, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		k.log.Error("the new certificate cannot be used, the old one goes on", zap.Error(err))
		return
	}
	k.log.Info("the certificate was read again", zap.String("path", k.certFile))
	k.pair = &pair
}

func (k *keyPair) times() (written [2]time.Time) {
	for i, path := range []string{k.certFile, k.keyFile} {
		if info, err := os.Stat(path); err == nil {
			written[i] = info.ModTime()
		}
	}
	return written
}
