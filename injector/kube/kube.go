// Package kube asks the API server of the cluster in which it runs.
package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ServiceAccount is where a pod has its credentials.
const ServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// A Client is for the few calls that the injector makes: it knows paths and JSON, and no types.
type Client struct {
	base, token string
	http        *http.Client
}

// An Error is an answer that is not a success.
type Error struct {
	Status  int
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("the API server answers %d: %s", e.Status, e.Message)
}

// Is says whether err is the API server's answer with this status.
func Is(err error, status int) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == status
}

// InCluster uses the pod's credentials, in dir.
func InCluster(dir string) (*Client, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("this is no pod: KUBERNETES_SERVICE_HOST and _PORT are not set")
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the API server's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s has no certificate", filepath.Join(dir, "ca.crt"))
	}
	return &Client{
		base:  "https://" + net.JoinHostPort(host, port),
		token: filepath.Join(dir, "token"),
		http: &http.Client{
			Timeout: 30 * time.Second,
			Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute,
				ResponseHeaderTimeout: 20 * time.Second,
			},
		},
	}, nil
}

// Get reads an object.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodGet, path, "application/json", nil, into)
}

// Metadata lists objects by their metadata alone.
func (c *Client) Metadata(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodGet, path, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", nil, into)
}

// Create makes an object, and reads what the API server made of it.
func (c *Client) Create(ctx context.Context, path string, object, into any) error {
	return c.do(ctx, http.MethodPost, path, "application/json", object, into)
}

// Update replaces an object; with a resourceVersion in it only if nobody else has changed it since.
func (c *Client) Update(ctx context.Context, path string, object, into any) error {
	return c.do(ctx, http.MethodPut, path, "application/json", object, into)
}

// Patch applies a JSON Patch.
func (c *Client) Patch(ctx context.Context, path string, patch any) error {
	return c.do(ctx, http.MethodPatch, path, "application/json", patch, nil)
}

func (c *Client) do(ctx context.Context, method, path, accept string, body, into any) error {
	request, err := c.request(ctx, method, path, accept, body)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return readError(answer)
	}
	if into == nil {
		_, err := io.Copy(io.Discard, answer.Body)
		return err
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

func (c *Client) request(ctx context.Context, method, path, accept string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	// Kubernetes renews the token in its file.
	token, err := os.ReadFile(c.token)
	if err != nil {
		return nil, fmt.Errorf("read the service account's token: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	request.Header.Set("Accept", accept)
	switch {
	case method == http.MethodPatch:
		request.Header.Set("Content-Type", "application/json-patch+json")
	case body != nil:
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

func readError(answer *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	var status struct{ Message string }
	if json.Unmarshal(b, &status) != nil || status.Message == "" {
		status.Message = strings.TrimSpace(string(b))
	}
	return &Error{answer.StatusCode, status.Message}
}
