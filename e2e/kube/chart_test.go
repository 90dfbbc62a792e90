//go:build e2e

package kube

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/openreplay/log-sidecar/e2e/kube/cluster"
)

// TestLifeOfARelease: installed, asked, rolled, upgraded, uninstalled, with Helm 3 and with Helm 4.
func TestLifeOfARelease(t *testing.T) {
	c := newCluster(t)
	for _, helm := range []string{"helm3", "helm4"} {
		t.Run(helm, func(t *testing.T) { lifeOfARelease(t, c, helm) })
	}
}

func lifeOfARelease(t *testing.T, c *cluster.Cluster, helm string) {
	shop := "shop-" + helm
	before := everything(t, c)
	c.RunPods(t, program(), system, injector)
	notes := install(t, c, helm, "sidecar.options.project=my-project")
	if err := contains(notes, "Next step", "doctor POD"); err != nil {
		t.Error(err)
	}
	c.Namespace(t, shop)
	c.Apply(t, shop, deployment("shop", asking("shop"), ""))
	rolledOut(t, c, shop, "shop")
	first := pods(t, c, shop, "app=shop")
	for _, p := range first {
		if !p.sidecar() || !slices.Contains(p.Spec.InitContainers[0].Args, "--project=my-project") {
			t.Errorf("the pod %s has no sidecar with the defaults: %+v", p.Metadata.Name, p.Spec.InitContainers)
		}
	}
	c.Kubectl(t, "rollout", "restart", "-n", shop, "deployment/shop")
	rolledOut(t, c, shop, "shop")
	eventually(t, "the old pods are gone", func() error { return count(t, c, shop, "app=shop", 2) })

	t.Run("an upgrade leaves running pods and the certificate alone", func(t *testing.T) {
		running, secret := uids(pods(t, c, shop, "app=shop")), c.Kubectl(t, "get", "secret", "-n", system, "or-openreplay-sidecar-injector-tls", "-o", "jsonpath={.data}")
		if !strings.Contains(secret, "tls.crt") {
			t.Fatalf("the Secret has no certificate: %s", secret)
		}
		c.Run(t, cluster.Tool(t, helm), helmArgs("upgrade", []string{"sidecar.options.project=other", "sidecar.memoryLimit=256Mi", "replicaCount=3"})...)
		if after := uids(pods(t, c, shop, "app=shop")); !slices.Equal(running, after) {
			t.Errorf("the app's pods were %v and are %v", running, after)
		}
		if after := c.Kubectl(t, "get", "secret", "-n", system, "or-openreplay-sidecar-injector-tls", "-o", "jsonpath={.data}"); after != secret {
			t.Error("the certificate was made anew")
		}
		made, err := dryRun(c, shop, []byte(plainPod))
		if err != nil || !made.sidecar() || !slices.Contains(made.Spec.InitContainers[0].Args, "--project=other") {
			t.Errorf("after the upgrade a pod is %+v, %v", made.Spec.InitContainers, err)
		}
	})
	t.Run("helm test", func(t *testing.T) { helmTest(t, c) })
	t.Run("uninstalled", func(t *testing.T) {
		running := uids(pods(t, c, shop, "app=shop"))
		c.Run(t, cluster.Tool(t, helm), "uninstall", "or", "-n", system, "--wait", "--timeout", "180s")
		if after := uids(pods(t, c, shop, "app=shop")); !slices.Equal(running, after) {
			t.Errorf("the app's pods were %v and are %v", running, after)
		}
		c.Kubectl(t, "delete", "namespace", shop, "--wait=false")
		eventually(t, "nothing is left", func() error {
			if left := lines(everything(t, c), before, "/"+shop); len(left) > 0 {
				return fmt.Errorf("left: %s", strings.Join(left, ", "))
			}
			return nil
		})
	})
}

// helmTest does what the pod of `helm test` does, with that pod's rights: its node is a fake one here.
func helmTest(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	manifests := c.Run(t, cluster.Tool(t, "helm3"), "template", "or", chart, "-n", system, "--show-only", "templates/tests/injection.yaml")
	c.Apply(t, system, manifests)
	defer func() {
		c.Kubectl(t, "delete", "-n", system, "pod,role,rolebinding,serviceaccount", "or-openreplay-sidecar-injector-test", "--wait=false")
	}()
	dir := t.TempDir()
	if err := c.WriteToken(dir, system, "or-openreplay-sidecar-injector-test"); err != nil {
		t.Fatal(err)
	}
	out := c.Run(t, "env", "KUBERNETES_SERVICE_HOST=127.0.0.1", "KUBERNETES_SERVICE_PORT=6443", program(), "check", "--namespace="+system, "--service-account="+dir)
	if err := contains(out, "ok: a pod that asks"); err != nil {
		t.Error(err)
	}
}

// everything lists all objects of the kinds that the chart could leave behind, namespaces and what the cluster makes by
// itself aside.
func everything(t *testing.T, c *cluster.Cluster) []string {
	t.Helper()
	out := c.Kubectl(t, "get", "-A", "-o", `jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{"\n"}{end}`,
		"deployments,replicasets,pods,services,endpointslices,configmaps,secrets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,"+
			"poddisruptionbudgets,networkpolicies,mutatingwebhookconfigurations,validatingwebhookconfigurations,mutatingadmissionpolicies,mutatingadmissionpolicybindings,"+
			"validatingadmissionpolicies,validatingadmissionpolicybindings")
	all := strings.Fields(out)
	return slices.DeleteFunc(all, func(s string) bool {
		return strings.HasSuffix(s, "/default") || strings.HasSuffix(s, "/kube-root-ca.crt") || strings.HasPrefix(s, "ClusterRole/") && strings.Contains(s, "system:") ||
			strings.HasPrefix(s, "ServiceAccount/kube-system/") || strings.HasPrefix(s, "ConfigMap/kube-system/")
	})
}

func lines(all, before []string, except string) (out []string) {
	for _, s := range all {
		if !slices.Contains(before, s) && !strings.Contains(s, except) {
			out = append(out, s)
		}
	}
	return out
}

func uids(list []podView) (out []string) {
	for _, p := range list {
		out = append(out, p.Metadata.UID)
	}
	slices.Sort(out)
	return out
}

func count(t testing.TB, c *cluster.Cluster, namespace, selector string, want int) error {
	if got := len(pods(t, c, namespace, selector)); got != want {
		return fmt.Errorf("%d pods, not %d", got, want)
	}
	return nil
}

// TestManifests: what the chart renders, in all its forms, is what the API server and the schemas of several versions take.
func TestManifests(t *testing.T) {
	forms := map[string][]string{
		"default":      nil,
		"all":          {"bridge.enabled=true", "bridge.keysSecret=keys", "bridge.replicaCount=2", "bridge.tlsSecret=tls", "bridge.googleSecret=key", "networkPolicy.enabled=true", "metrics.dashboards.enabled=true"},
		"own secret":   {"certificates.source=secret", "certificates.secretName=tls", "certificates.caBundle=Zm9v"},
		"cert-manager": {"certificates.source=cert-manager"},
		"none":         {"mode=none"},
		"policy":       {"mode=policy"},
		"monitoring":   {"metrics.podMonitor.enabled=true", "metrics.rules.enabled=true", "metrics.sidecarPodMonitor.enabled=true"},
	}
	schemas := filepath.Join(cluster.Root(), ".cache/kube/schemas")
	for name, set := range forms {
		t.Run("kubeconform/"+name, func(t *testing.T) {
			for _, version := range []string{"1.29", "1.31", "1.34", "1.37"} {
				if name == "policy" && version != "1.37" {
					continue
				}
				rendered := template(t, version+".0", set)
				cmd := "kubeconform"
				out, err := pipe(rendered, cluster.Tool(t, cmd), "-strict", "-summary", "-schema-location", filepath.Join(schemas, version, "{{.ResourceKind}}{{.KindSuffix}}.json"),
					// Of other projects there are no schemas on this machine.
					"-skip", "Certificate,Issuer,PodMonitor,ServiceMonitor,PrometheusRule")
				if err != nil {
					t.Errorf("%s: %v\n%s", version, err, out)
				}
			}
		})
	}
	c := newCluster(t)
	c.Kubectl(t, "create", "namespace", system)
	for _, name := range []string{"default", "all", "own secret", "policy"} {
		t.Run("apiserver/"+name, func(t *testing.T) {
			c.Apply(t, system, template(t, "1.37.0", forms[name], "--skip-tests"), "--dry-run=server", "--validate=strict")
		})
	}
}

func template(t *testing.T, version string, set []string, more ...string) string {
	t.Helper()
	args := append([]string{"template", "or", filepath.Join(cluster.Root(), chart), "-n", system, "--kube-version", version}, more...)
	for _, s := range set {
		args = append(args, "--set", s)
	}
	out, err := pipe("", cluster.Tool(t, "helm3"), args...)
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, out)
	}
	return out
}

// TestChartItself: its own suite, its page, and its rules on values.
func TestChartItself(t *testing.T) {
	dir := filepath.Join(cluster.Root(), chart)
	if out, err := pipe("", cluster.Tool(t, "helm-unittest"), dir); err != nil {
		t.Errorf("helm-unittest: %v\n%s", err, out)
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := pipe("", cluster.Tool(t, "helm-docs"), "--dry-run", "--log-level=error", "--chart-search-root="+dir)
	if err != nil || strings.TrimSpace(fresh) != strings.TrimSpace(string(page)) {
		t.Errorf("charts/openreplay-sidecar/README.md is old: run e2e/kube/tools/build helm-docs, and make docs (%v)", err)
	}
	for set, want := range map[string]string{
		"webhook.failurePolicy=Maybe": "failurePolicy",
		"replicas=3":                  "replicas",
		"certificates.source=secret":  "certificates.secretName",
		"bridge.enabled=true":         "bridge.keysSecret",
	} {
		out, err := pipe("", cluster.Tool(t, "helm4"), "template", dir, "--set", set)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("--set %s: %v, and %q is not said:\n%s", set, err, want, out)
		}
	}
}

// TestSaidToUsers: what a user, an owner and a Prometheus hear of pods that ask and get nothing.
func TestSaidToUsers(t *testing.T) {
	c := newCluster(t)
	node := c.RunPods(t, program(), system, injector)
	install(t, c, "helm3", "watch.interval=1s")
	c.Namespace(t, "apps")
	out, err := c.TryApply(t, "apps", strings.Replace(deployment("bad", asking("bad"), "      hostNetwork: true\n"), "replicas: 2", "replicas: 1", 1))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rolledOut(t, c, "apps", "bad")
	eventually(t, "the owner hears of it", func() error {
		return contains(c.Kubectl(t, "get", "events", "-n", "apps", "--field-selector", "reason=SidecarNotInjected", "-o",
			"jsonpath={range .items[*]}{.involvedObject.kind} {.message}{'\\n'}{end}"), "ReplicaSet hostNetwork", "(host-network)")
	})
	t.Setenv("PATH", filepath.Dir(cluster.Tool(t, "kubectl"))+string(os.PathListSeparator)+os.Getenv("PATH"))
	pod := strings.TrimSpace(c.Kubectl(t, "get", "pods", "-n", "apps", "-o", "name"))
	if said, err := c.TryRun(program(), "doctor", "-n", "apps", pod); err == nil || contains(said, "FAIL  sidecar", "(host-network)") != nil {
		t.Errorf("the doctor says of %s (%v): %s", pod, err, said)
	}
	c.Client.Warnings()
	for _, test := range []struct{ why, pod, want string }{
		{"a wrong word", strings.Replace(plainPod, `"true"`, `"yes"`, 1), `should be \"true\" or \"false\"`},
		{"a wrong value", strings.Replace(plainPod, `"labels"`, `"annotations":{"openreplay-sidecar/pace":"fast"},"labels"`, 1), `pace is \"fast\"`},
		{"an unknown setting", strings.Replace(plainPod, `"labels"`, `"annotations":{"openreplay-sidecar/log-nme":"x"},"labels"`, 1), "did you mean openreplay-sidecar/log-name?"},
	} {
		if _, err := dryRun(c, "apps", []byte(test.pod)); err != nil {
			t.Errorf("%s: the pod was refused: %v", test.why, err)
		}
		if said := strings.Join(c.Client.Warnings(), "\n"); !strings.Contains(said, test.want) {
			t.Errorf("%s: %q is not among the warnings: %s", test.why, test.want, said)
		}
	}
	eventually(t, "the metrics have it", func() error {
		var all string
		for ip := range node.Processes() {
			all += metrics(t, c, ip)
		}
		return contains(all, `injector_admissions_total{reason="host-network",result="skipped"}`, `injector_pods_without_sidecar{namespace="apps"} 1`)
	})
}

// TestTheThreeWaysToAsk: the pod's label, its annotation, its namespace's label; and the ways not to.
func TestTheThreeWaysToAsk(t *testing.T) {
	c := newCluster(t)
	c.RunPods(t, program(), system, injector)
	install(t, c, "helm4")
	c.Namespace(t, "plain")
	c.Namespace(t, "asking", `openreplay-sidecar/inject: "true"`)
	bare := strings.Replace(plainPod, `,"labels":{"openreplay-sidecar/inject":"true"}`, "", 1)
	meta := func(kind, value string) string {
		return strings.Replace(bare, `"generateName"`, `"`+kind+`":{"openreplay-sidecar/inject":"`+value+`"},"generateName"`, 1)
	}
	for _, test := range []struct {
		namespace, pod string
		want           bool
	}{
		{"plain", bare, false}, {"plain", meta("labels", "true"), true}, {"plain", meta("annotations", "true"), true}, {"plain", meta("labels", "false"), false},
		{"asking", bare, true}, {"asking", meta("labels", "false"), false}, {"asking", meta("annotations", "false"), false}, {"asking", meta("labels", "true"), true},
	} {
		made, err := dryRun(c, test.namespace, []byte(test.pod))
		if err != nil || made.sidecar() != test.want {
			t.Errorf("namespace %s, pod %s: sidecar %v, %v; want %v", test.namespace, test.pod, made.sidecar(), err, test.want)
		}
	}
}

// TestWithoutAServer: in the mode policy the API server adds the sidecar by itself, and warns of pods that it cannot help.
func TestWithoutAServer(t *testing.T) {
	c := newCluster(t)
	install(t, c, "helm4", "mode=policy", "sidecar.options.project=my-project")
	c.Namespace(t, "apps")
	asking := strings.Replace(plainPod, `"labels"`, `"annotations":{"openreplay-sidecar/logs":"/var/log/shop/*.log","openreplay-sidecar/log-name":"shop"},"labels"`, 1)
	eventually(t, "the policy is in force", func() error {
		made, err := dryRun(c, "apps", []byte(asking))
		if err == nil && !made.sidecar() {
			err = errors.New("the pod has no sidecar")
		}
		return err
	})
	made, err := dryRun(c, "apps", []byte(asking))
	if err != nil {
		t.Fatal(err)
	}
	side, app := made.Spec.InitContainers[0], made.Spec.Containers[0]
	if !slices.Contains(side.Args, "--app=http://127.0.0.1:8080") || side.Ports[0].Name != "http" || app.Ports[0].Name != "http-app" || app.VolumeMounts[len(app.VolumeMounts)-1].MountPath != "/var/log/shop" {
		t.Errorf("the sidecar is %+v, the app %+v", side, app)
	}
	c.Client.Warnings()
	bad := strings.Replace(plainPod, `"containers"`, `"hostNetwork":true,"containers"`, 1)
	if made, err := dryRun(c, "apps", []byte(bad)); err != nil || made.sidecar() {
		t.Errorf("a pod of the host's network: sidecar %v, %v", made.sidecar(), err)
	}
	if said := strings.Join(c.Client.Warnings(), "\n"); !strings.Contains(said, "not injected") {
		t.Errorf("nothing is said of it: %q", said)
	}
}

// TestNobodyAnswers: with the injector down pods start without a sidecar, and it is seen as soon as it is back.
func TestNobodyAnswers(t *testing.T) {
	c := newCluster(t)
	node := c.RunPods(t, program(), system, injector)
	install(t, c, "helm3", "watch.interval=1s")
	c.Namespace(t, "apps")
	c.Kubectl(t, "scale", "-n", system, "deployment/or-openreplay-sidecar-injector", "--replicas=0")
	eventually(t, "the injector is gone", func() error { return count(t, c, system, injector, 0) })
	c.Apply(t, "apps", deployment("shop", asking("shop"), ""))
	rolledOut(t, c, "apps", "shop")
	for _, p := range pods(t, c, "apps", "app=shop") {
		if p.sidecar() {
			t.Fatal("a pod has a sidecar, though nobody could give it one")
		}
	}
	var text string
	if err := c.Client.Text("GET", "/metrics", &text); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`apiserver_admission_webhook_fail_open_count\{name="pod.openreplay-sidecar.injector"[^}]*\} [1-9]`).MatchString(text) {
		t.Error("the API server does not count what it let pass")
	}
	c.Kubectl(t, "scale", "-n", system, "deployment/or-openreplay-sidecar-injector", "--replicas=1")
	eventually(t, "the pods without a sidecar are counted, and said", func() error {
		for ip := range node.Processes() {
			if err := contains(metrics(t, c, ip), `injector_pods_without_sidecar{namespace="apps"} 2`); err != nil {
				return err
			}
			return contains(c.Kubectl(t, "get", "events", "-n", "apps", "--field-selector", "reason=SidecarNotInjected"), "delete it to have it made anew")
		}
		return errors.New("no injector is ready")
	})
}
