package localcloud

import (
	"strings"

	"google.golang.org/genproto/googleapis/api/label"
	"google.golang.org/genproto/googleapis/api/monitoredres"
)

// resourceTypes are the monitored resources that a writer beside an app meets,
// each with its display name and its labels
// (https://cloud.google.com/logging/docs/api/v2/resource-list).
var resourceTypes = [][3]string{
	{"cloud_run_revision", "Cloud Run Revision", "project_id service_name revision_name location configuration_name"},
	{"gce_instance", "VM Instance", "project_id instance_id zone"},
	{"generic_node", "Generic Node", "project_id location namespace node_id"},
	{"generic_task", "Generic Task", "project_id location namespace job task_id"},
	{"global", "Global", "project_id"},
	{"k8s_cluster", "Kubernetes Cluster", "project_id location cluster_name"},
	{"k8s_container", "Kubernetes Container", "project_id location cluster_name namespace_name pod_name container_name"},
	{"k8s_node", "Kubernetes Node", "project_id location cluster_name node_name"},
	{"k8s_pod", "Kubernetes Pod", "project_id location cluster_name namespace_name pod_name"},
	{"project", "Google Project", "project_id"},
}

func descriptors() []*monitoredres.MonitoredResourceDescriptor {
	var all []*monitoredres.MonitoredResourceDescriptor
	for _, t := range resourceTypes {
		d := &monitoredres.MonitoredResourceDescriptor{Type: t[0], DisplayName: t[1]}
		for _, key := range strings.Fields(t[2]) {
			d.Labels = append(d.Labels, &label.LabelDescriptor{Key: key})
		}
		all = append(all, d)
	}
	return all
}
