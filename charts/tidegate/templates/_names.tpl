{{- define "tidegate.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The controller of one namespace, or of all: its Deployment and its Lease. Takes (list root namespace). */ -}}
{{- define "tidegate.controller" -}}
{{- $name := include "tidegate.name" (index . 0) -}}
{{- with index . 1 }}{{ $name }}-{{ . }}{{ else }}{{ $name }}{{ end -}}
{{- end -}}

{{- define "tidegate.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "tidegate.name" .) -}}
{{- end -}}

{{- define "tidegate.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* Marks the pods of one controller. */ -}}
{{- define "tidegate.controllerSelector" -}}
{{ include "tidegate.selector" (index . 0) }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "tidegate.labels" -}}
{{ include "tidegate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* What is cluster-wide is named for its namespace too, so that two releases can be side by side. */ -}}
{{- define "tidegate.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "tidegate.name" .) -}}
{{- end -}}
