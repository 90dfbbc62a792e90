package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"github.com/openreplay/log-sidecar/injector"
	"github.com/openreplay/log-sidecar/injector/kube"
	"github.com/openreplay/log-sidecar/injector/webhook"
	"github.com/openreplay/log-sidecar/internal/admin"
	"github.com/openreplay/log-sidecar/internal/keypair"
)

// options of serve.
type options struct {
	config, listen, health string
	native                 string
	tlsCert, tlsKey        string
	namespace, service     string
	secret, configuration  string
	lifetime, settle, look time.Duration
	watch, grace           time.Duration
	serviceAccount         string
}

func parseServe(args []string, out io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.config, "config", "", "`FILE` with the defaults for all pods")
	flags.StringVar(&o.listen, "listen", ":8443", "`ADDR` that the API server calls")
	flags.StringVar(&o.health, "health", ":9094", "`ADDR` of /healthz, /readyz and /metrics")
	flags.StringVar(&o.native, "native", "auto", "native sidecars: true, false, or `auto`: where the cluster is 1.29 or newer")
	flags.StringVar(&o.tlsCert, "tls-cert", "", "`FILE` with the certificate, where somebody else makes it; read again when it changes")
	flags.StringVar(&o.tlsKey, "tls-key", "", "`FILE` with its key")
	flags.StringVar(&o.namespace, "namespace", "", "the injector's own `NAMESPACE`")
	flags.StringVar(&o.service, "service", "openreplay-sidecar-injector", "the `NAME` of its Service, which is the certificate's")
	flags.StringVar(&o.secret, "secret", "openreplay-sidecar-injector-tls", "the `NAME` of the Secret in which it keeps its certificate")
	flags.StringVar(&o.configuration, "configuration", "openreplay-sidecar-injector", "the `NAME` of its MutatingWebhookConfiguration")
	flags.DurationVar(&o.lifetime, "certificate-lifetime", 90*24*time.Hour, "how long a certificate lives; it is renewed when two thirds are over")
	flags.DurationVar(&o.settle, "certificate-settle", 5*time.Minute, "how long everybody has to hear of a new authority before it is used")
	flags.DurationVar(&o.look, "certificate-look", 10*time.Second, "how often the Secret is looked at")
	flags.DurationVar(&o.watch, "watch", time.Minute, "how often pods without their sidecar are looked for; 0: never")
	flags.DurationVar(&o.grace, "grace", 5*time.Second, "how long it still answers when it is asked to end: until the API server has heard of it")
	flags.StringVar(&o.serviceAccount, "service-account", kube.ServiceAccount, "`DIR` with the credentials for the API server")
	if err := flags.Parse(args); err != nil {
		return o, usageError{err}
	}
	return o, o.validate(flags.Args())
}

func (o *options) validate(rest []string) error {
	var wrong []error
	complain := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	complain(len(rest) > 0, "%q is not an option", rest)
	complain((o.tlsCert == "") != (o.tlsKey == ""), "--tls-cert and --tls-key need each other")
	complain(o.namespace == "", "--namespace is missing")
	complain(o.native != "auto" && o.native != "true" && o.native != "false", "--native is %q, and should be auto, true or false", o.native)
	complain(o.lifetime < 6*o.settle, "--certificate-lifetime has to be six times --certificate-settle at least")
	complain(o.look <= 0, "--certificate-look has to be positive")
	if err := errors.Join(wrong...); err != nil {
		return usageError{err}
	}
	return nil
}

// serve answers the API server until ctx is done.
func serve(ctx context.Context, p process, args []string) error {
	o, err := parseServe(args, p.stderr)
	if err != nil {
		return err
	}
	log := newLog(p.stderr)
	defer log.Sync()
	defaults, err := loadDefaults(o.config)
	if err != nil {
		return err
	}
	client, err := kube.InCluster(o.serviceAccount)
	if err != nil {
		return err
	}
	defaults.Classic = classic(ctx, o.native, client, log)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s := &server{options: o, log: log, client: client, defaults: defaults, registry: registry, metrics: webhook.NewMetrics(registry)}
	return s.run(ctx)
}

// classic says whether the cluster knows no native sidecars. Where it does not answer, it is taken for a new one.
func classic(ctx context.Context, native string, client *kube.Client, log *zap.Logger) bool {
	if native != "auto" {
		return native == "false"
	}
	var version struct{ Major, Minor string }
	if err := client.Get(ctx, "/version", &version); err != nil {
		log.Warn("the cluster's version is not known; pods get native sidecars", zap.Error(err))
		return false
	}
	digits := 0
	for digits < len(version.Minor) && version.Minor[digits] >= '0' && version.Minor[digits] <= '9' {
		digits++ // "28+" stands in some clusters
	}
	minor, err := strconv.Atoi(version.Minor[:digits])
	return err == nil && version.Major == "1" && minor < 29
}

// A server is one life of the webhook.
type server struct {
	options
	log      *zap.Logger
	client   *kube.Client
	defaults injector.Defaults
	registry *prometheus.Registry
	metrics  *webhook.Metrics
}

func (s *server) run(ctx context.Context) error {
	front, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("%w: choose another address with --listen", err)
	}
	defer front.Close()
	back, err := net.Listen("tcp", s.health)
	if err != nil {
		return fmt.Errorf("%w: choose another address with --health", err)
	}
	defer back.Close()

	group, ctx := errgroup.WithContext(ctx)
	// What stands behind the listeners lives until the last request is answered.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	certificate, ready, err := s.certificate(working, group)
	if err != nil {
		stop()
		return err
	}
	events := webhook.NewEvents(s.client, s.log, s.metrics)
	group.Go(func() error { events.Run(working); return nil })
	if s.watch > 0 {
		watch := &webhook.Watch{Client: s.client, Events: events, Metrics: s.metrics, Log: s.log, Every: s.watch}
		group.Go(func() error { watch.Run(working); return nil })
	}
	hook := &webhook.Webhook{Defaults: s.defaults, Events: events, Metrics: s.metrics, Log: s.log}
	public := &http.Server{
		Handler: hook.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: zap.NewStdLog(s.log),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate},
	}
	health := &http.Server{Handler: admin.Health(func() error {
		if ctx.Err() != nil {
			return errors.New("the injector is ending")
		}
		return ready()
	}, s.registry), ReadHeaderTimeout: 5 * time.Second, ErrorLog: zap.NewStdLog(s.log)}
	group.Go(func() error { return closed(public.ServeTLS(front, "", "")) })
	group.Go(func() error { return closed(health.Serve(back)) })
	group.Go(func() error {
		<-ctx.Done()
		s.end(public, health)
		stop()
		return nil
	})
	s.log.Info("the injector is up", zap.Stringer("listen", front.Addr()), zap.Stringer("health", back.Addr()),
		zap.String("version", build), zap.String("image", s.defaults.Image), zap.Bool("native", !s.defaults.Classic))
	return group.Wait()
}

// end still answers for a while: the API server calls an address until it has heard that it is going away.
func (s *server) end(public, health *http.Server) {
	s.log.Info("ending", zap.Duration("grace", s.grace))
	time.Sleep(s.grace)
	within, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := public.Shutdown(within); err != nil {
		s.log.Warn("requests were still open", zap.Error(err))
	}
	health.Close()
}

// certificate gives the webhook's certificate: of files that somebody else renews, or its own.
func (s *server) certificate(ctx context.Context, group *errgroup.Group) (get func(*tls.ClientHelloInfo) (*tls.Certificate, error), ready func() error, err error) {
	if s.tlsCert != "" {
		pair, err := keypair.New(s.tlsCert, s.tlsKey, s.log)
		if err != nil {
			return nil, nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		return pair.Certificate, func() error { return nil }, nil
	}
	keeper := &webhook.Keeper{KeeperConfig: webhook.KeeperConfig{
		Client: s.client, Namespace: s.namespace, Secret: s.secret, Configuration: s.configuration,
		Names:    []string{s.service + "." + s.namespace + ".svc", s.service + "." + s.namespace + ".svc.cluster.local"},
		Lifetime: s.lifetime, Settle: s.settle, LookEvery: s.look, Log: s.log, Metrics: s.metrics,
	}}
	group.Go(func() error { keeper.Run(ctx); return nil })
	return keeper.Certificate, keeper.Ready, nil
}

func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// newLog writes JSON as GKE's agent reads it.
func newLog(w io.Writer) *zap.Logger {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey: "time", EncodeTime: zapcore.RFC3339NanoTimeEncoder,
		LevelKey: "severity", EncodeLevel: func(l zapcore.Level, out zapcore.PrimitiveArrayEncoder) {
			if l == zapcore.WarnLevel {
				out.AppendString("WARNING")
				return
			}
			out.AppendString(l.CapitalString())
		},
		MessageKey: "message", StacktraceKey: "", EncodeDuration: zapcore.StringDurationEncoder,
	})
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), zap.InfoLevel))
}
