package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"

	"github.com/openreplay/log-sidecar/injector"
	"github.com/openreplay/log-sidecar/injector/kube"
)

// check makes a pod that asks for the sidecar, as a dry run, and looks at what comes back.
func check(ctx context.Context, p process, args []string) error {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	namespace := flags.String("namespace", "", "`NAMESPACE` of the pod")
	account := flags.String("service-account", kube.ServiceAccount, "`DIR` with the credentials for the API server")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	if *namespace == "" {
		return usageError{errors.New("--namespace is missing")}
	}
	client, err := kube.InCluster(*account)
	if err != nil {
		return err
	}
	var made json.RawMessage
	if err := client.Create(ctx, "/api/v1/namespaces/"+*namespace+"/pods?dryRun=All", example, &made); err != nil {
		return fmt.Errorf("ask for a pod: %w", err)
	}
	if !injector.Injected(made) {
		return errors.New("the pod came back without a sidecar: did the API server reach the injector? Its metric apiserver_admission_webhook_fail_open_count tells; " +
			"on GKE's private clusters the firewall has to let the control plane reach the nodes at the webhook's port")
	}
	_, err = fmt.Fprintln(p.stdout, "ok: a pod that asks for the sidecar gets it")
	return err
}

// example asks, and fits every Pod Security level.
var example = json.RawMessage(`{
  "apiVersion": "v1", "kind": "Pod",
  "metadata": {"generateName": "openreplay-sidecar-check-", "labels": {"openreplay-sidecar/inject": "true"}},
  "spec": {
    "containers": [{"name": "app", "image": "example.invalid/app", "ports": [{"name": "http", "containerPort": 8080}],
      "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}},
      "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
    "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
  }
}`)
