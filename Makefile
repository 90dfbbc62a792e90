# One front door. `make test` is everything that has to hold; it installs what it needs.

GO ?= go
# How binaries for pods are built. grpcnotrace leaves out a debugging page whose templates keep every method of the program
# in the binary: 3 MB, docs/decisions/0005-libraries.md.
RELEASE := -tags grpcnotrace -trimpath -ldflags '-s -w'
GOBIN := $(CURDIR)/bin
export PATH := $(GOBIN):$(PATH)

.PHONY: test unit race lint e2e kube kube-cost kubelet apps torture torture-delivery soak conformance bench bench-proxy bench-tail bench-send build image docs clean

test: lint race e2e kube

# Go alone, under two minutes.
unit:
	$(GO) test ./...

race:
	$(GO) test -race -shuffle=on ./...
	$(GO) test -run TestModel ./enrich/tail # thousands of programs, at which the race detector is slow

lint: bin/golangci-lint
	$(GO) vet ./...
	$(GO) vet -tags e2e,faults ./...
	bin/golangci-lint run ./...
	$(GO) run ./cmd/sidecar options | diff - docs/OPTIONS.md || { echo 'docs/OPTIONS.md is old: run make docs' >&2; exit 1; }

bin/golangci-lint: tools/go.mod
	$(GO) build -modfile=tools/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# The chart and the injector in a real Kubernetes. What is built for it is kept in .cache/kube, by version: the first time takes
# some ten minutes on two cores, later ones nothing.
KUBE_TOOLS := kube-apiserver kube-controller-manager kube-scheduler kubectl kwok helm3 helm4 helm-unittest helm-docs kubeconform schemas
kube:
	e2e/setup
	e2e/kube/tools/build $(KUBE_TOOLS)
	$(GO) test -tags e2e -count=1 -timeout 20m ./e2e/kube

# How quick the injector is, on a machine that has nothing else to do.
kube-cost:
	e2e/kube/tools/build $(KUBE_TOOLS)
	COST=1 $(GO) test -tags e2e -count=1 -timeout 20m -v -run TestCost ./e2e/kube

# The sidecar in pods of a real node: kubelet, containerd and runc. Some two minutes where the programs are built.
kubelet:
	e2e/setup runc containernetworking-plugins
	e2e/kube/tools/build kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet containerd
	$(GO) test -tags e2e -count=1 -timeout 20m -v ./e2e/kubelet

# With real apps and real clients.
E2E := tomcat noharm clients localonly browser clientaddress torture sessions shared
e2e: build
	e2e/setup
	$(GO) test -tags e2e -count=1 -p 1 -timeout 20m $(E2E:%=./e2e/%)
	$(GO) test -tags e2e -short -count=1 -timeout 10m ./e2e/delivery
	cd e2e/bridge && $(GO) test -mod=mod -tags e2e -count=1 -timeout 10m .

# Not in make test: what they ask for does not hold yet in every row, or takes long.
apps: build
	e2e/setup
	$(GO) test -tags e2e -count=1 -v ./e2e/apps

build:
	CGO_ENABLED=0 $(GO) build $(RELEASE) -o bin/ ./cmd/...

# The long forms, by hand: half an hour and more of rotation, kills and outages; the proxy's behaviour beside its peers'.
torture: build
	TORTURE=20 TORTURE_RESULTS=$(CURDIR)/bench/results/torture.md $(GO) test -tags e2e -count=1 -timeout 4h -v ./e2e/torture

# Two hundred people with two or three tabs each, for an hour.
soak: build
	SOAK=1h $(GO) test -tags e2e -count=1 -timeout 2h -v -run TwoHundredUsers ./e2e/sessions

# Every fault and kill three times, an outage with as many errors as half an hour has at 50 a second, and Google's Logger and the
# OpenTelemetry Collector beside us.
torture-delivery: build bin/otelcol
	DELIVERY_RESULTS=$(CURDIR)/bench/results/delivery.md DELIVERY_OUTAGE=90000 $(GO) test -tags e2e -count=1 -timeout 2h -v ./e2e/delivery
	$(GO) test -tags e2e -short -count=2 -timeout 2h -v ./e2e/delivery

# The OpenTelemetry Collector, as a peer: some ten minutes.
bin/otelcol: bench/otelcol.yaml
	mkdir -p .cache bin
	$(GO) run go.opentelemetry.io/collector/cmd/builder@v0.165.0 --config $<
	cp .cache/otelcol/otelcol $@

conformance:
	e2e/setup
	$(GO) test -count=1 -tags peers -run Peers -v ./e2e/conformance
	$(GO) test -count=1 -tags probe -run KeepAliveRaceProbe -v ./proxy

# What it costs, into bench/results.
bench:
	$(GO) run ./bench

bench-proxy:
	$(GO) run ./bench -proxy

bench-tail: bin/otelcol
	$(GO) run ./bench -tail

bench-send:
	$(GO) run ./bench -send

# Needs buildah or docker; IMAGE_BUILD takes either's command.
IMAGE_BUILD ?= buildah bud
image:
	$(IMAGE_BUILD) --target sidecar -t openreplay-log-sidecar .
	$(IMAGE_BUILD) --target injector -t openreplay-log-sidecar-injector .
	$(IMAGE_BUILD) --target bridge -t openreplay-log-sidecar-bridge .

docs:
	$(GO) run ./cmd/sidecar options > docs/OPTIONS.md
	$(GO) run ./cmd/sidecar options --json > injector/options.json
	$(GO) run ./cmd/injector settings > docs/ANNOTATIONS.md
	if [ -x .cache/kube/bin/helm-docs ]; then .cache/kube/bin/helm-docs --log-level=error --chart-search-root=charts/openreplay-sidecar; fi

clean:
	rm -rf bin
