package proxy

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// keyPair is a certificate in files that others renew. What cannot be read leaves the former one in use.
type keyPair struct {
	cert, key string
	log       *zap.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	stamp  [2]time.Time // of the files that were loaded last, or that failed to
	looked time.Time
}

const lookEvery = time.Second

func newKeyPair(cert, key string, log *zap.Logger) (*keyPair, error) {
	k := &keyPair{cert: cert, key: key, log: log}
	stamp, err := k.stamps()
	if err == nil {
		err = k.load()
	}
	if err != nil {
		return nil, fmt.Errorf("the certificate for clients: %w", err)
	}
	k.stamp, k.looked = stamp, time.Now()
	return k, nil
}

// certificate looks at the files once a second at most, when a client comes.
func (k *keyPair) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.looked) < lookEvery {
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

func (k *keyPair) load() error {
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err == nil {
		k.loaded = &pair
	}
	return err
}

func (k *keyPair) stamps() (stamp [2]time.Time, err error) {
	for i, path := range []string{k.cert, k.key} {
		info, err := os.Stat(path)
		if err != nil {
			return stamp, err
		}
		stamp[i] = info.ModTime()
	}
	return stamp, nil
}
