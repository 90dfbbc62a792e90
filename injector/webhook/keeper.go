package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/injector/kube"
)

// A Keeper keeps the webhook's certificate: in a Secret that all replicas share, renewed by whoever comes first, and in the
// bundle by which the API server knows it.
type Keeper struct {
	KeeperConfig
	shown  atomic.Pointer[tls.Certificate]
	loaded []byte
	placed atomic.Bool // the API server has the bundle
}

// KeeperConfig says where things are. Names are those of the Service.
type KeeperConfig struct {
	Client            *kube.Client
	Namespace, Secret string
	Configuration     string // the MutatingWebhookConfiguration
	Names             []string
	Lifetime, Settle  time.Duration
	LookEvery         time.Duration
	Log               *zap.Logger
	Metrics           *Metrics
}

// Certificate is for tls.Config.GetCertificate.
func (k *Keeper) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.shown.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("there is no certificate yet")
}

// Ready says why the API server cannot call yet.
func (k *Keeper) Ready() error {
	switch {
	case k.shown.Load() == nil:
		return errors.New("there is no certificate yet")
	case !k.placed.Load():
		return errors.New("the API server does not know the certificate yet")
	}
	return nil
}

// Run looks after the certificate until ctx is done. What fails is tried again.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(k.LookEvery)
	defer tick.Stop()
	for {
		if err := k.look(ctx); err != nil && ctx.Err() == nil {
			k.Metrics.certificateErrors.Inc()
			k.Log.Error("the webhook's certificate cannot be looked after; it is tried again", zap.Error(err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// secret is what is read of the Secret; the rest of it is kept.
type secret struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]any    `json:"metadata"`
	Type       string            `json:"type,omitempty"`
	Data       map[string][]byte `json:"data"`
}

func (k *Keeper) look(ctx context.Context) error {
	path := "/api/v1/namespaces/" + k.Namespace + "/secrets/" + k.Secret
	var s secret
	if err := k.Client.Get(ctx, path, &s); err != nil {
		return fmt.Errorf("read the Secret %s: %w", k.Secret, err)
	}
	c := readCertificates(s.Data)
	c.names, c.lifetime, c.settle = k.Names, k.Lifetime, k.Settle
	changed, err := c.advance(time.Now())
	if err != nil {
		return err
	}
	if changed {
		s.Data = c.data()
		err := k.Client.Update(ctx, path, s, nil)
		if kube.Is(err, http.StatusConflict) {
			return nil // another replica was first; its work is read next time
		}
		if err != nil {
			return fmt.Errorf("write the Secret %s: %w", k.Secret, err)
		}
		k.Log.Info("a step in the change of certificates was done", zap.Int("authorities", len(authorities(c.bundle))), zap.Bool("next", c.nextCert != nil))
	}
	if err := k.place(ctx, c.bundle); err != nil {
		return err
	}
	return k.show(c)
}

// show serves the certificate of the Secret. The bundle is placed before.
func (k *Keeper) show(c certificates) error {
	if bytes.Equal(k.loaded, c.cert) {
		return nil
	}
	pair, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("the Secret %s: %w", k.Secret, err)
	}
	k.shown.Store(&pair)
	k.loaded = c.cert
	k.Metrics.certificateExpires.Set(float64(pair.Leaf.NotAfter.Unix()))
	k.Log.Info("the webhook shows a new certificate", zap.Time("until", pair.Leaf.NotAfter))
	return nil
}

// place gives the bundle to the API server, where it has another one.
func (k *Keeper) place(ctx context.Context, bundle []byte) error {
	path := "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/" + k.Configuration
	var configuration struct {
		Webhooks []struct {
			Name         string
			ClientConfig struct{ CABundle []byte }
		}
	}
	if err := k.Client.Get(ctx, path, &configuration); err != nil {
		return fmt.Errorf("read the MutatingWebhookConfiguration %s: %w", k.Configuration, err)
	}
	var patch []map[string]any
	for i, w := range configuration.Webhooks {
		if !bytes.Equal(w.ClientConfig.CABundle, bundle) {
			at := fmt.Sprintf("/webhooks/%d", i)
			patch = append(patch,
				map[string]any{"op": "test", "path": at + "/name", "value": w.Name},
				map[string]any{"op": "add", "path": at + "/clientConfig/caBundle", "value": bundle})
		}
	}
	if patch != nil {
		if err := k.Client.Patch(ctx, path, patch); err != nil {
			return fmt.Errorf("patch the MutatingWebhookConfiguration %s: %w", k.Configuration, err)
		}
		k.Log.Info("the API server has the webhook's authorities", zap.Int("webhooks", len(patch)/2))
	}
	k.placed.Store(true)
	return nil
}
