package webhook

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/injector"
	"github.com/openreplay/log-sidecar/injector/kube"
)

// A Watch finds the Pods that ask for the sidecar and do not have it, above all those that started while no injector
// answered. It goes by labels, and reads no more of a Pod than its metadata.
type Watch struct {
	Client  *kube.Client
	Events  *Events
	Metrics *Metrics
	Log     *zap.Logger
	Every   time.Duration
}

// Run looks until ctx is done.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	for {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.Log.Warn("it is not known which pods lack their sidecar", zap.Error(err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// list is one page of metadata.
type list struct {
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []head `json:"items"`
}

// page is how many objects are asked for at once.
const page = 200

func (w *Watch) look(ctx context.Context) error {
	without := map[string]int{}
	running := url.Values{"fieldSelector": {"status.phase!=Succeeded,status.phase!=Failed"}}
	running.Set("labelSelector", injector.AskKey+"=true")
	if err := w.each(ctx, "/api/v1/pods", running, func(h head) { w.judge(h, without) }); err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	var namespaces []string
	asking := url.Values{"labelSelector": {injector.AskKey + "=true"}}
	if err := w.each(ctx, "/api/v1/namespaces", asking, func(h head) { namespaces = append(namespaces, h.Metadata.Name) }); err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	running.Set("labelSelector", "!"+injector.AskKey)
	for _, n := range namespaces {
		err := w.each(ctx, "/api/v1/namespaces/"+n+"/pods", running, func(h head) {
			if h.Metadata.Annotations[injector.AskKey] != "false" {
				w.judge(h, without)
			}
		})
		if err != nil {
			return fmt.Errorf("list the pods of %s: %w", n, err)
		}
	}
	w.Metrics.without.Reset()
	for namespace, n := range without {
		w.Metrics.without.WithLabelValues(namespace).Set(float64(n))
	}
	return nil
}

func (w *Watch) judge(h head, without map[string]int) {
	if h.Metadata.Annotations[injector.StatusKey] != "" {
		return
	}
	without[h.Metadata.Namespace]++
	w.Events.send(reference{"v1", "Pod", h.Metadata.Namespace, h.Metadata.Name, h.Metadata.UID}, "no-sidecar",
		"the pod asks for the sidecar and does not have it: another Event of its owner says why, or no injector answered when it was made; then delete it to have it made anew")
}

func (w *Watch) each(ctx context.Context, path string, query url.Values, do func(head)) error {
	query.Set("limit", fmt.Sprint(page))
	defer query.Del("continue")
	for {
		var l list
		if err := w.Client.Metadata(ctx, path+"?"+query.Encode(), &l); err != nil {
			return err
		}
		for _, h := range l.Items {
			do(h)
		}
		if l.Metadata.Continue == "" {
			return nil
		}
		query.Set("continue", l.Metadata.Continue)
	}
}
