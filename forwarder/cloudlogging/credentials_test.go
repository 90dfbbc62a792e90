package cloudlogging

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/openreplay/log-sidecar/internal/localcloud"
	"github.com/openreplay/log-sidecar/internal/testcert"
)

// authority is the certificate of every TLS server here; TestMain makes the process trust it.
var authority tls.Certificate

func trustOurselves() error {
	pair, err := testcert.Make("localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	authority = pair.TLS
	file, err := os.CreateTemp("", "authority-*.pem")
	if err != nil {
		return err
	}
	defer file.Close()
	os.Setenv("SSL_CERT_FILE", file.Name())
	_, err = file.Write(pair.Cert)
	return err
}

// guarded is the stand-in behind TLS, which takes only what carries a token that it knows.
type guarded struct {
	*localcloud.Server
	address string
	mu      sync.Mutex
	known   func(token string) bool
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	cloud, err := localcloud.New(localcloud.Config{})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	outer, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{authority}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	g := &guarded{Server: cloud, address: outer.Addr().String(), known: func(string) bool { return false }}
	cloud.Interpose(g.take)
	var group sync.WaitGroup
	group.Go(func() { cloud.Serve(inner) })
	group.Go(func() {
		for {
			conn, err := outer.Accept()
			if err != nil {
				return
			}
			group.Go(func() { join(conn, inner.Addr().String()) })
		}
	})
	t.Cleanup(func() {
		outer.Close()
		cloud.Shutdown(context.Background())
		group.Wait()
	})
	return g
}

// join passes bytes on both ways.
func join(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		io.Copy(server, client)
	}()
	io.Copy(client, server)
	client.Close()
	<-done
}

func (g *guarded) take(ctx context.Context, _ *loggingpb.WriteLogEntriesRequest, apply func() (*loggingpb.WriteLogEntriesResponse, error)) (*loggingpb.WriteLogEntriesResponse, error) {
	got, _ := metadata.FromIncomingContext(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	if token := strings.TrimPrefix(strings.Join(got.Get("authorization"), ""), "Bearer "); token == "" || !g.known(token) {
		return nil, status.Error(codes.Unauthenticated, "the token is not known")
	}
	return apply()
}

func (g *guarded) accept(known func(token string) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known = known
}

// signedWith says whether a token names the key.
func signedWith(id string) func(string) bool {
	return func(token string) bool {
		head, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
		return err == nil && strings.Contains(string(head), fmt.Sprintf("%q", id))
	}
}

// TestCredentialsThatComeLater: a key that is mounted after the start, and one that is renewed, are found without a restart.
func TestCredentialsThatComeLater(t *testing.T) {
	cloud := newGuarded(t)
	path := filepath.Join(t.TempDir(), "key.json")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	sink := New(Config{LogName: "openreplay-errors", Endpoint: cloud.address})
	defer sink.Close()
	if out := sink.Ready(t.Context()); out.Err == nil || !out.Slow {
		t.Fatalf("Ready without a key: %+v", out)
	}
	write := func(id string) {
		if err := os.WriteFile(path, testcert.AccountKey(t, id), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	cloud.accept(signedWith("first"))
	if out := sink.Ready(t.Context()); out.Err != nil {
		t.Fatalf("Ready with a key: %+v", out)
	}
	batch := sealed(t, sink, 1)
	if out := sink.Send(t.Context(), batch); out.Err != nil {
		t.Fatalf("Send with a key: %+v", out)
	}
	cloud.accept(signedWith("second"))
	write("second")
	if out := sink.Send(t.Context(), batch); out.Code != codes.Unauthenticated.String() {
		t.Fatalf("Send with a revoked key: %+v", out)
	}
	if out := sink.Send(t.Context(), batch); out.Err != nil {
		t.Fatalf("Send with the renewed key: %+v", out)
	}
	if diff := cmp.Diff([]string{"0"}, stored(t, cloud.Server)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	report, err := sink.Try(t.Context())
	if err != nil || report.Account != "writer@p.iam.gserviceaccount.com" || report.LogName != "projects/p/logs/openreplay-errors" || !report.ClockTold || report.Ahead != 0 {
		t.Errorf("Try: %+v, %v", report, err)
	}
}

// TestFederation: Workload Identity from outside of Google: the pod's own token is exchanged for one of Google's.
func TestFederation(t *testing.T) {
	cloud := newGuarded(t)
	cloud.accept(func(token string) bool { return token == "federated" })
	exchange := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("subject_token") != "the pod's" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"federated","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3600}`)
	}))
	exchange.TLS = &tls.Config{Certificates: []tls.Certificate{authority}}
	exchange.StartTLS()
	defer exchange.Close()
	dir := t.TempDir()
	subject, path := filepath.Join(dir, "token"), filepath.Join(dir, "federation.json")
	config := fmt.Sprintf(`{"type":"external_account","audience":"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/k8s",
		"subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"%s/v1/token","credential_source":{"file":%q}}`, exchange.URL, subject)
	for name, content := range map[string]string{subject: "the pod's", path: config} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	sink := New(Config{Project: "p", LogName: "openreplay-errors", Endpoint: cloud.address})
	defer sink.Close()
	if out := sink.Send(t.Context(), sealed(t, sink, 2)); out.Err != nil {
		t.Fatalf("Send: %+v", out)
	}
	if got := len(stored(t, cloud.Server)); got != 2 {
		t.Errorf("%d entries are stored, want 2", got)
	}
}

// TestMetadataServer: on Google's machines account, project, and the names of cluster and place come from there.
func TestMetadataServer(t *testing.T) {
	answers := map[string]string{
		"/computeMetadata/v1/project/project-id":                      "from-metadata",
		"/computeMetadata/v1/instance/attributes/cluster-name":        "shop-cluster",
		"/computeMetadata/v1/instance/attributes/cluster-location":    "europe-west3",
		"/computeMetadata/v1/universe/universe-domain":                "googleapis.com",
		"/computeMetadata/v1/instance/service-accounts/default/token": `{"access_token":"of the machine","expires_in":3600,"token_type":"Bearer"}`,
		"/computeMetadata/v1/instance/service-accounts/default/email": "writer@p.iam.gserviceaccount.com",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, answer)
	}))
	defer server.Close()
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GCE_METADATA_HOST", server.Listener.Addr().String())
	cloud := newGuarded(t)
	cloud.accept(func(token string) bool { return token == "of the machine" })
	sink := New(Config{LogName: "openreplay-errors", Endpoint: cloud.address, Pod: &Pod{Namespace: "shop", Name: "shop-1", Container: "app"}})
	defer sink.Close()
	if out := sink.Send(t.Context(), sealed(t, sink, 1)); out.Err != nil {
		t.Fatalf("Send: %+v", out)
	}
	entries, err := cloud.Entries("")
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	want := map[string]string{"project_id": "from-metadata", "location": "europe-west3", "cluster_name": "shop-cluster",
		"namespace_name": "shop", "pod_name": "shop-1", "container_name": "app"}
	if diff := cmp.Diff(want, entries[0].GetResource().GetLabels()); diff != "" || entries[0].GetResource().GetType() != "k8s_container" {
		t.Errorf("resource %s (-want +got):\n%s", entries[0].GetResource().GetType(), diff)
	}
}

// TestMetadataServerThatHangs: entries wait for it only so long.
func TestMetadataServerThatHangs(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	t.Setenv("GCE_METADATA_HOST", silent.Addr().String())
	began := time.Now()
	r := (&Pod{Name: "shop-1"}).resource(t.Context(), "p")
	if took := time.Since(began); took > 2*metadataTimeout || r.GetType() != "k8s_pod" || r.GetLabels()["pod_name"] != "shop-1" {
		t.Errorf("after %v: %v", took, r)
	}
}

// TestServerThatNobodyVouchesFor: a failure of TLS is said as such, and heals by itself.
func TestServerThatNobodyVouchesFor(t *testing.T) {
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.EnableHTTP2 = true
	other.Config.ErrorLog = log.New(t.Output(), "", 0)
	other.StartTLS()
	defer other.Close()
	path := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(path, testcert.AccountKey(t, "k"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	sink := New(Config{LogName: "openreplay-errors", Endpoint: other.Listener.Addr().String()})
	defer sink.Close()
	if out := sink.Ready(t.Context()); out.Err == nil || out.Slow || !strings.Contains(out.Err.Error(), "certificate") {
		t.Errorf("Ready: %+v", out)
	}
}
