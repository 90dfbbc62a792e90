package record

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Severity is Cloud Logging's, with its numbers.
type Severity int32

// The severities. https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#LogSeverity
const (
	Default   Severity = 0
	Debug     Severity = 100
	Info      Severity = 200
	Notice    Severity = 300
	Warning   Severity = 400
	Error     Severity = 500
	Critical  Severity = 600
	Alert     Severity = 700
	Emergency Severity = 800
)

var severityNames = map[Severity]string{
	Default: "DEFAULT", Debug: "DEBUG", Info: "INFO", Notice: "NOTICE", Warning: "WARNING",
	Error: "ERROR", Critical: "CRITICAL", Alert: "ALERT", Emergency: "EMERGENCY",
}

func (s Severity) String() string {
	if name, ok := severityNames[s]; ok {
		return name
	}
	return fmt.Sprintf("Severity(%d)", int32(s))
}

// Severities are all names, from the lowest to the highest.
func Severities() (names []string) {
	for _, s := range slices.Sorted(maps.Keys(severityNames)) {
		names = append(names, severityNames[s])
	}
	return names
}

// ParseSeverity reads Cloud Logging's names, in any case.
func ParseSeverity(name string) (Severity, error) {
	for s, n := range severityNames {
		if strings.EqualFold(n, name) {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%q is no severity: use one of %s", name, strings.Join(Severities(), ", "))
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// levelOf gives the severity that a level word of any popular logger stands for, whatever its case.
func levelOf(word []byte) (Severity, bool) {
	var lower [20]byte
	if len(word) == 0 || len(word) > len(lower) {
		return 0, false
	}
	for i, c := range word {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	switch string(lower[:len(word)]) {
	case "trace", "trc", "trce", "finest", "finer", "fine", "config", "verbose", "verb", "vrb", "silly", "debug", "dbg", "dbug",
		"debu", "d", "t", "v", "debug1", "debug2", "debug3", "debug4", "debug5", "d1", "d2", "d3", "d4", "d5", "fein", "feiner", "am feinsten", "konfiguration":
		return Debug, true
	case "info", "inf", "information", "informational", "i", "log", "system", "success", "o", "infos", "informação",
		"información", "informazioni", "情報", "信息", "資訊", "정보", "hint", "statement", "detail":
		return Info, true
	case "notice", "note", "noti", "n", "audit", "hinweis":
		return Notice, true
	case "warning", "warn", "wrn", "w", "advertencia", "avertissement", "warnung", "avvertenza", "aviso", "警告", "경고",
		"deprecated", "deprecation", "varning", "attention":
		return Warning, true
	case "error", "err", "eror", "erro", "e", "err!", "severe", "fail", "failed", "failure", "grave", "schwerwiegend", "fehler",
		"erreur", "errore", "重大", "严重", "嚴重", "심각", "allvarlig", "ошибка", "errors":
		return Error, true
	case "critical", "crit", "c", "fatal", "ftl", "f", "panic", "dpanic", "fata", "pani", "disaster":
		return Critical, true
	case "alert", "aler", "a":
		return Alert, true
	case "emergency", "emerg", "emer":
		return Emergency, true
	}
	if n := len(word); n > 6 && lower[5] == '+' && string(lower[:5]) == "error" { // slog's ERROR+4
		return Error, true
	}
	return 0, false
}

// ofSyslog gives the severity of RFC 5424's numbers, which GELF and journald share.
func ofSyslog(n int64) (Severity, bool) {
	if n < 0 || n > 7 {
		return 0, false
	}
	return [...]Severity{Emergency, Alert, Critical, Error, Warning, Notice, Info, Debug}[n], true
}

func ofOpenTelemetry(n int64) (Severity, bool) {
	if n < 1 || n > 24 {
		return 0, false
	}
	return [...]Severity{Debug, Debug, Info, Warning, Error, Critical}[(n-1)/4], true
}
