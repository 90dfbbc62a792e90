# One front door. `make test` is everything that has to hold; it installs what it needs.

GO ?= go
# How binaries for pods are built. grpcnotrace leaves out a debugging page whose templates keep every method of the program
# in the binary: 3 MB, docs/decisions/0005-libraries.md.
RELEASE := -tags grpcnotrace -trimpath -ldflags '-s -w'
GOBIN := $(CURDIR)/bin
export PATH := $(GOBIN):$(PATH)

.PHONY: test unit race lint e2e apps delivery torture soak conformance bench bench-proxy bench-tail bench-send build image docs clean

test: lint race e2e

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

# With real apps and real clients.
E2E := tomcat noharm clients localonly browser clientaddress torture sessions
e2e: build
	e2e/setup
	$(GO) test -tags e2e -count=1 -p 1 -timeout 20m $(E2E:%=./e2e/%)

# Not in make test: what they ask for does not hold yet in every row, or takes long.
apps: build
	e2e/setup
	$(GO) test -tags e2e -count=1 -v ./e2e/apps

delivery: build
	$(GO) test -tags e2e -count=1 -v ./e2e/delivery

build:
	CGO_ENABLED=0 $(GO) build $(RELEASE) -o bin/ ./cmd/...

# The long forms, by hand: half an hour and more of rotation, kills and outages; the proxy's behaviour beside its peers'.
torture: build
	TORTURE=20 $(GO) test -tags e2e -count=1 -timeout 4h -v ./e2e/torture

# Two hundred people with two or three tabs each, for an hour.
soak: build
	SOAK=1h $(GO) test -tags e2e -count=1 -timeout 2h -v -run TwoHundredUsers ./e2e/sessions

conformance:
	e2e/setup
	$(GO) test -count=1 -tags peers -run Peers -v ./e2e/conformance
	$(GO) test -count=1 -tags probe -run KeepAliveRaceProbe -v ./proxy

# What it costs, into bench/results.
bench:
	$(GO) run ./bench

bench-proxy:
	$(GO) run ./bench -proxy

bench-tail:
	$(GO) run ./bench -tail

bench-send:
	$(GO) run ./bench -send

# Needs buildah or docker; IMAGE_BUILD takes either's command.
IMAGE_BUILD ?= buildah bud
image:
	$(IMAGE_BUILD) --target sidecar -t openreplay-log-sidecar .

docs:
	$(GO) run ./cmd/sidecar options > docs/OPTIONS.md
	$(GO) run ./cmd/sidecar options --json > injector/options.json

clean:
	rm -rf bin
