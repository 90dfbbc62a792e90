# Every binary is a target: docker build --target sidecar .
ARG GO_VERSION=1.26
ARG BASE=gcr.io/distroless/static-debian12:nonroot

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -tags grpcnotrace -trimpath \
      -ldflags "-s -w -X main.build=$VERSION" -o /out/ ./cmd/...

FROM ${BASE} AS bridge
COPY --from=build /out/bridge /bridge
USER 65532:65532
EXPOSE 9200 9294
ENTRYPOINT ["/bridge"]
CMD ["serve"]

FROM ${BASE} AS injector
COPY --from=build /out/injector /injector
USER 65532:65532
EXPOSE 8443 9094
ENTRYPOINT ["/injector"]
CMD ["serve"]

FROM ${BASE} AS sidecar
COPY --from=build /out/sidecar /sidecar
# For pods that ask for `traffic: redirect`, in an init container.
COPY --from=build /out/redirect /redirect
# A number, so that runAsNonRoot can be checked.
USER 65532:65532
EXPOSE 8080 9094
ENTRYPOINT ["/sidecar"]
CMD ["run"]
