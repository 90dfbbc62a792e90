package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/injector"
	"github.com/openreplay/log-sidecar/injector/kube"
)

// Events says in the cluster which Pods have no sidecar, and why: to the owner of the Pod, which has a name and stays.
type Events struct {
	client  *kube.Client
	log     *zap.Logger
	metrics *Metrics
	queue   chan event
}

// A reference is an object that Events are about.
type reference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// event is one of v1. Its name comes from its content, so that it is written once, whoever writes it.
type event struct {
	APIVersion     string            `json:"apiVersion"`
	Kind           string            `json:"kind"`
	Metadata       map[string]string `json:"metadata"`
	InvolvedObject reference         `json:"involvedObject"`
	Reason         string            `json:"reason"`
	Message        string            `json:"message"`
	Type           string            `json:"type"`
	Count          int               `json:"count"`
	FirstTimestamp string            `json:"firstTimestamp"`
	LastTimestamp  string            `json:"lastTimestamp"`
	Source         map[string]string `json:"source"`
}

// waiting is how many Events may wait to be written.
const waiting = 256

// NewEvents needs Run.
func NewEvents(client *kube.Client, log *zap.Logger, metrics *Metrics) *Events {
	return &Events{client, log, metrics, make(chan event, waiting)}
}

// Run writes what is reported until ctx is done.
func (e *Events) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case v := <-e.queue:
			err := e.client.Create(ctx, "/api/v1/namespaces/"+v.Metadata["namespace"]+"/events", v, nil)
			if err != nil && !kube.Is(err, http.StatusConflict) && ctx.Err() == nil {
				e.metrics.eventsDropped.Inc()
				e.log.Warn("an Event cannot be written", zap.String("namespace", v.Metadata["namespace"]), zap.Error(err))
			}
		}
	}
}

// head is what is read of a Pod to name it.
type head struct {
	Metadata struct {
		Name            string            `json:"name"`
		GenerateName    string            `json:"generateName"`
		Namespace       string            `json:"namespace"`
		UID             string            `json:"uid"`
		Annotations     map[string]string `json:"annotations"`
		OwnerReferences []struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Name       string `json:"name"`
			UID        string `json:"uid"`
			Controller bool   `json:"controller"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
}

func nameOf(pod []byte) string {
	var h head
	json.Unmarshal(pod, &h)
	if h.Metadata.Name != "" {
		return h.Metadata.Name
	}
	return h.Metadata.GenerateName + "..."
}

// NotInjected reports a Pod to its owner. It never waits: what cannot be queued is counted.
func (e *Events) NotInjected(namespace string, pod []byte, reason, text string) {
	var h head
	json.Unmarshal(pod, &h)
	about := reference{"v1", "Pod", namespace, h.Metadata.Name, h.Metadata.UID}
	for _, o := range h.Metadata.OwnerReferences {
		if o.Controller {
			about = reference{o.APIVersion, o.Kind, namespace, o.Name, o.UID}
		}
	}
	if about.Name == "" {
		return // a Pod of nobody, which has no name yet: its maker reads the warning
	}
	e.send(about, reason, text)
}

func (e *Events) send(about reference, reason, text string) {
	now := time.Now().UTC().Format(time.RFC3339)
	// An hour is how long Events are kept: within it, one says enough.
	sum := sha256.Sum256([]byte(about.Kind + about.Name + about.UID + reason + text + time.Now().UTC().Format("2006-01-02T15")))
	v := event{
		APIVersion: "v1", Kind: "Event", InvolvedObject: about, Reason: "SidecarNotInjected", Type: "Warning", Count: 1,
		Metadata:       map[string]string{"name": about.Name[:min(len(about.Name), 200)] + "." + hex.EncodeToString(sum[:8]), "namespace": about.Namespace},
		Message:        text + " (" + reason + ")",
		FirstTimestamp: now, LastTimestamp: now,
		Source: map[string]string{"component": injector.Name + "-injector"},
	}
	select {
	case e.queue <- v:
	default:
		e.metrics.eventsDropped.Inc()
	}
}
