package cloudlogging

import (
	"cmp"
	"context"
	"time"

	"cloud.google.com/go/compute/metadata"
	"google.golang.org/genproto/googleapis/api/monitoredres"
)

// metadataTimeout bounds how long entries wait for what the metadata server knows. Off Google's machines nobody answers there.
const metadataTimeout = 2 * time.Second

// A Pod names the app's container. The Google client's own detection would name the sidecar's. Cluster and Location may be
// empty: then the metadata server is asked.
type Pod struct{ Location, Cluster, Namespace, Name, Container string }

// resource is what the entries are of. Without a container's name they are of the pod.
func (p *Pod) resource(ctx context.Context, project string) *monitoredres.MonitoredResource {
	if p == nil {
		return &monitoredres.MonitoredResource{Type: "generic_node", Labels: map[string]string{"project_id": project}}
	}
	cluster, location := p.Cluster, p.Location
	if cluster == "" || location == "" {
		ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
		defer cancel()
		cluster = cmp.Or(cluster, attribute(ctx, "cluster-name"))
		location = cmp.Or(location, attribute(ctx, "cluster-location"))
	}
	r := &monitoredres.MonitoredResource{Type: "k8s_pod", Labels: map[string]string{"project_id": project, "location": location,
		"cluster_name": cluster, "namespace_name": p.Namespace, "pod_name": p.Name}}
	if p.Container != "" {
		r.Type, r.Labels["container_name"] = "k8s_container", p.Container
	}
	return r
}

func attribute(ctx context.Context, name string) string {
	value, err := metadata.InstanceAttributeValueWithContext(ctx, name)
	if err != nil {
		return ""
	}
	return value
}
