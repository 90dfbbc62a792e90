package lql

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	ltype "google.golang.org/genproto/googleapis/logging/type"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

type datumKind uint8

const (
	nullDatum datumKind = iota
	textDatum
	numberDatum
	boolDatum
	enumDatum
	instantDatum
	spanDatum
	nodeDatum // a message, a map or an object: only presence and text below it can be asked for
)

// datum is one value out of an entry.
type datum struct {
	kind   datumKind
	text   string  // the value as it is shown; names for enums
	number float64 // numbers, enum ranks, seconds of a span
	time   time.Time
	unset  bool               // the value is its type's default and was never written
	below  func(v visit) bool // the scalars of a node
}

func textDatumOf(s string) datum { return datum{kind: textDatum, text: s} }

// every calls v for the datum, or for all the scalars below it.
func (d datum) every(v visit) bool {
	if d.kind == nodeDatum {
		return d.below(v)
	}
	return v(d)
}

// shown is the text that substrings and patterns are looked for in.
func (d datum) shown() string {
	switch d.kind {
	case instantDatum:
		return d.time.UTC().Format(time.RFC3339Nano)
	case spanDatum:
		return strconv.FormatFloat(d.number, 'f', -1, 64) + "s"
	case numberDatum:
		return strconv.FormatFloat(d.number, 'f', -1, 64)
	}
	return d.text
}

func scalar(fd protoreflect.FieldDescriptor, value protoreflect.Value, set bool) datum {
	switch v := value.Interface().(type) {
	case string:
		return textDatumOf(v)
	case []byte:
		return textDatumOf(string(v))
	case bool:
		return datum{kind: boolDatum, text: strconv.FormatBool(v), unset: !set}
	case protoreflect.EnumNumber:
		return datum{kind: enumDatum, text: enumName(fd, v), number: float64(v), unset: !set}
	case float32:
		return datum{kind: numberDatum, number: float64(v), unset: !set}
	case float64:
		return datum{kind: numberDatum, number: v, unset: !set}
	case int32:
		return datum{kind: numberDatum, number: float64(v), unset: !set}
	case int64:
		return datum{kind: numberDatum, number: float64(v), unset: !set}
	case uint32:
		return datum{kind: numberDatum, number: float64(v), unset: !set}
	case uint64:
		return datum{kind: numberDatum, number: float64(v), unset: !set}
	}
	return datum{}
}

func enumName(fd protoreflect.FieldDescriptor, n protoreflect.EnumNumber) string {
	if v := fd.Enum().Values().ByNumber(n); v != nil {
		return string(v.Name())
	}
	return strconv.Itoa(int(n))
}

func scalarValue(value *structpb.Value) datum {
	switch k := value.GetKind().(type) {
	case *structpb.Value_StringValue:
		return textDatumOf(k.StringValue)
	case *structpb.Value_NumberValue:
		return datum{kind: numberDatum, number: k.NumberValue}
	case *structpb.Value_BoolValue:
		return datum{kind: boolDatum, text: strconv.FormatBool(k.BoolValue)}
	}
	return datum{}
}

// value is the right side of a comparison, read once for all the ways in which
// it may be compared.
type value struct {
	text    string
	folded  string
	number  float64
	numeric bool
	time    time.Time
	pattern *regexp.Regexp
	null    bool // NULL_VALUE
	any     bool // the star of FIELD:*
}

// Fold is the form in which the language compares strings: case does not count.
func Fold(s string) string { return strings.ToLower(s) }

func newValue(t token, minus bool, where path, op operator) (value, error) {
	raw := t.raw
	if t.quoted() {
		raw = t.parts[0].text
	}
	if minus {
		raw = "-" + raw
	}
	v := value{text: raw, folded: Fold(raw)}
	v.null = t.word("NULL_VALUE")
	v.any = op == opHas && t.word("*")
	v.number, v.numeric = number(raw)
	if v.null || v.any {
		return v, nil
	}
	if op == opMatch || op == opNoMatch {
		return v, v.compile(t)
	}
	return v, v.fit(where)
}

func (t token) quoted() bool { return len(t.parts) == 1 && t.parts[0].quoted }

func number(s string) (float64, bool) {
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

func (v *value) compile(t token) (err error) {
	pattern := v.text
	if t.quoted() {
		pattern = unescapePattern(t.parts[0].raw)
	}
	if v.pattern, err = regexp.Compile(pattern); err != nil {
		return fmt.Errorf("Unparseable filter: invalid regular expression '%s': %w", pattern, err)
	}
	return nil
}

// fit reads the value as the field's schema wants it.
func (v *value) fit(where path) error {
	ok := true
	switch where.shape {
	case instant:
		v.time, ok = parseTime(v.text)
	case span:
		v.number, ok = parseSeconds(v.text)
	case numeric:
		ok = v.numeric
	case boolean:
		ok = v.folded == "true" || v.folded == "false"
	case enumerated:
		v.number, ok = parseSeverity(v)
	}
	if !ok {
		return fmt.Errorf("Unparseable filter: invalid value '%s' for field '%s'", v.text, strings.Join(where.names, "."))
	}
	return nil
}

func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func parseSeconds(s string) (float64, bool) {
	if d, err := time.ParseDuration(s); err == nil {
		return d.Seconds(), true
	}
	return number(s)
}

// parseSeverity reads a severity's name, in any case, or its rank. It is the
// only enum of LogEntry.
func parseSeverity(v *value) (float64, bool) {
	if n, ok := ltype.LogSeverity_value[strings.ToUpper(v.text)]; ok {
		return float64(n), true
	}
	return v.number, v.numeric
}
