package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"github.com/openreplay/log-sidecar/bridge"
	"github.com/openreplay/log-sidecar/internal/admin"
	"github.com/openreplay/log-sidecar/internal/keypair"
)

const (
	// drain is the longest an orderly stop may take: a search may take 25 s.
	drain = 30 * time.Second
	// maxConnections is how many clients may be connected at a time.
	maxConnections = 1024
)

// serve answers until ctx is done.
func serve(ctx context.Context, p process, args []string) error {
	o, err := parse("serve", args, p.stderr)
	if err != nil {
		return err
	}
	log := newLog(p.stderr)
	defer log.Sync()
	keys, err := bridge.LoadKeys(o.keys, log)
	if err != nil {
		return err
	}
	cloud, err := bridge.Connect(ctx, o.endpoint, o.plaintext)
	if err != nil {
		return err
	}
	defer cloud.Close()
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	b := bridge.New(bridge.Config{Keys: keys, Cloud: cloud, Settle: o.settle, Quota: o.quota, Log: log, Registerer: metrics})
	defer b.Close()
	return listen(ctx, o, log, b, metrics)
}

// listen opens both listeners, and ends when ctx is done or one of them fails.
func listen(ctx context.Context, o options, log *zap.Logger, b http.Handler, metrics prometheus.Gatherer) error {
	public, err := publicServer(o, log, b)
	if err != nil {
		return err
	}
	front, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("%w: choose another address with --listen", err)
	}
	defer front.Close()
	back, err := net.Listen("tcp", o.health)
	if err != nil {
		return fmt.Errorf("%w: choose another address with --health", err)
	}
	health := &http.Server{Handler: admin.Health(ready(ctx), metrics), ReadHeaderTimeout: 5 * time.Second, ErrorLog: zap.NewStdLog(log)}
	log.Info("the bridge is up", zap.Stringer("listen", front.Addr()), zap.Stringer("health", back.Addr()),
		zap.Bool("tls", o.tlsCert != ""), zap.Duration("settle", o.settle), zap.Int("quota", o.quota))
	return run(ctx, log, netutil.LimitListener(front, maxConnections), public, back, health)
}

func run(ctx context.Context, log *zap.Logger, front net.Listener, public *http.Server, back net.Listener, health *http.Server) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if public.TLSConfig != nil {
			return closed(public.ServeTLS(front, "", ""))
		}
		return closed(public.Serve(front))
	})
	group.Go(func() error { return closed(health.Serve(back)) })
	group.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		err := public.Shutdown(stop)
		health.Close() // last, so that the end can be watched
		log.Info("ended", zap.Error(err))
		return err
	})
	return group.Wait()
}

func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// publicServer bounds what a client may send and how long it may take.
func publicServer(o options, log *zap.Logger, b http.Handler) (*http.Server, error) {
	s := &http.Server{
		Handler:           b,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          zap.NewStdLog(log),
	}
	if o.tlsCert != "" {
		pair, err := keypair.New(o.tlsCert, o.tlsKey, log)
		if err != nil {
			return nil, badPair(err)
		}
		s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.Certificate}
	}
	return s, nil
}

// ready says yes until the end begins: neither Google nor the keys change it, so that an error of theirs is answered as
// one, and not as a connection that fails.
func ready(ctx context.Context) func() error {
	return func() error {
		if ctx.Err() != nil {
			return errors.New("the bridge is ending")
		}
		return nil
	}
}

// newLog writes the JSON that GKE's agent reads.
func newLog(w io.Writer) *zap.Logger {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey: "time", EncodeTime: zapcore.RFC3339NanoTimeEncoder,
		LevelKey: "severity", EncodeLevel: severityName,
		MessageKey: "message", EncodeDuration: zapcore.StringDurationEncoder,
	})
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), zap.InfoLevel))
}

// severityName gives Cloud Logging's name of a level.
func severityName(level zapcore.Level, out zapcore.PrimitiveArrayEncoder) {
	if level == zapcore.WarnLevel {
		out.AppendString("WARNING")
		return
	}
	out.AppendString(level.CapitalString())
}

// badPair names the options that lead to the certificate.
func badPair(err error) error { return fmt.Errorf("--tls-cert and --tls-key: %w", err) }
