{{- define "or.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}{{ end }}{{ end }}
{{- end }}

{{- define "or.injector" }}{{ include "or.fullname" . }}-injector{{ end }}
{{- define "or.bridge" }}{{ include "or.fullname" . }}-bridge{{ end }}

{{- define "or.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: openreplay-sidecar
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "or.injectorSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-injector
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "or.bridgeSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-bridge
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* An image of the values: its digest comes before its tag. */}}
{{- define "or.image" -}}
{{- $i := index . 0 }}{{- $root := index . 1 -}}
{{- if $i.digest }}{{ $i.repository }}@{{ $i.digest }}{{ else }}{{ $i.repository }}:{{ default $root.Chart.AppVersion $i.tag }}{{ end }}
{{- end }}

{{- define "or.serviceAccount" }}{{ default (include "or.injector" .) .Values.serviceAccount.name }}{{ end }}
{{- define "or.bridgeServiceAccount" }}{{ default (include "or.bridge" .) .Values.bridge.serviceAccount.name }}{{ end }}
{{- define "or.configuration" }}{{ .Values.webhook.namePrefix }}{{ include "or.injector" . }}{{ end }}
{{- define "or.secret" }}{{ include "or.injector" . }}-tls{{ end }}
{{- define "or.certSecret" }}{{ if eq .Values.certificates.source "secret" }}{{ .Values.certificates.secretName }}{{ else }}{{ include "or.secret" . }}{{ end }}{{ end }}

{{/* What every container of the chart may: nothing. */}}
{{- define "or.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "or.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The defaults for all pods, as `injector serve --config` reads them. */}}
{{- define "or.defaults" -}}
image: {{ include "or.image" (list .Values.sidecar.image .) | quote }}
imagePullPolicy: {{ .Values.sidecar.image.pullPolicy }}
nodeLogs: {{ .Values.sidecar.nodeLogs }}
cpuRequest: {{ .Values.sidecar.cpuRequest }}
memoryRequest: {{ .Values.sidecar.memoryRequest }}
memoryLimit: {{ .Values.sidecar.memoryLimit }}
options:
{{- range $k, $v := .Values.sidecar.options }}
  {{ $k }}: {{ $v | toString | quote }}
{{- else }} {}
{{- end }}
{{- end }}

{{/* Values that do not go together are an error here, and not a cluster in which nothing happens. */}}
{{- define "or.validate" -}}
{{- if and (eq .Values.certificates.source "secret") (or (not .Values.certificates.secretName) (not .Values.certificates.caBundle)) }}
{{- fail "certificates.source secret needs certificates.secretName and certificates.caBundle" }}
{{- end }}
{{- if and .Values.bridge.enabled (not .Values.bridge.keysSecret) }}
{{- fail "bridge.enabled needs bridge.keysSecret: a Secret with the keys file under `keys`, see docs/OPENREPLAY.md" }}
{{- end }}
{{- if and (eq .Values.mode "policy") (not (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")) (semverCompare "<1.36.0-0" .Capabilities.KubeVersion.Version) }}
{{- fail (printf "mode policy needs Kubernetes 1.36 or newer; this cluster is %s" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- if and .Values.metrics.podMonitor.enabled .Values.metrics.serviceMonitor.enabled }}
{{- fail "metrics.podMonitor and metrics.serviceMonitor would both count the injector: enable one" }}
{{- end }}
{{- end }}

{{/* What the entries of the webhook have in common. */}}
{{- define "or.entry" }}
    admissionReviewVersions: [v1]
    sideEffects: NoneOnDryRun
    reinvocationPolicy: IfNeeded
    failurePolicy: {{ .Values.webhook.failurePolicy }}
    timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
    matchPolicy: Equivalent
    rules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods], scope: Namespaced}
{{- end }}
{{- define "or.client" }}
    clientConfig:
      service: {name: {{ include "or.injector" .root }}, namespace: {{ .root.Release.Namespace }}, port: 443, path: {{ .path }}}
      {{- if eq .root.Values.certificates.source "secret" }}
      caBundle: {{ .root.Values.certificates.caBundle }}
      {{- end }}
{{- end }}

{{/* In CEL: whether a pod asks for the sidecar, and whether it has it. */}}
{{- define "or.asks" -}}
(has(object.metadata.labels) && "openreplay-sidecar/inject" in object.metadata.labels ? object.metadata.labels["openreplay-sidecar/inject"] :
has(object.metadata.annotations) && "openreplay-sidecar/inject" in object.metadata.annotations ? object.metadata.annotations["openreplay-sidecar/inject"] : "") == "true"
{{- end }}
{{- define "or.injected" -}}
has(object.spec.initContainers) && object.spec.initContainers.exists(c, c.name == "openreplay-sidecar")
{{- end }}
