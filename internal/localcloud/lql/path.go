package lql

import (
	"fmt"
	"strings"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// path is a field's name, resolved against LogEntry as far as its schema goes;
// below labels and payloads any name is allowed.
type path struct {
	names []string
	top   protoreflect.FieldDescriptor
	shape shape
}

// shape is what the schema says of a field's values.
type shape uint8

const (
	dynamic shape = iota // only the entry knows
	textual
	numeric
	boolean
	enumerated
	instant
	span
	message
)

var entryDescriptor = (*loggingpb.LogEntry)(nil).ProtoReflect().Descriptor()

func resolve(names []string) (path, error) {
	p := path{names: append([]string(nil), names...)}
	md := entryDescriptor
	for i, name := range names {
		fd := fieldNamed(md, name)
		if fd == nil {
			return p, fmt.Errorf("Field not found: '%s'.", strings.Join(names[:i+1], "."))
		}
		p.names[i] = fd.JSONName()
		if i == 0 {
			p.top = fd
		}
		p.shape = shapeOf(fd)
		if p.shape != message || fd.IsMap() {
			if p.shape != dynamic && i < len(names)-1 {
				return p, fmt.Errorf("Field not found: '%s'.", strings.Join(names, "."))
			}
			return p, nil
		}
		md = fd.Message()
	}
	return p, nil
}

// fieldNamed finds a field by its JSON name, its proto name, or either in
// another case, as the language does not tell cases apart outside map keys.
func fieldNamed(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	fields := md.Fields()
	if fd := fields.ByJSONName(name); fd != nil {
		return fd
	}
	for i := range fields.Len() {
		fd := fields.Get(i)
		if strings.EqualFold(fd.JSONName(), name) || strings.EqualFold(string(fd.Name()), name) {
			return fd
		}
	}
	return nil
}

func shapeOf(fd protoreflect.FieldDescriptor) shape {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return shapeOfMessage(fd)
	case protoreflect.StringKind, protoreflect.BytesKind:
		return textual
	case protoreflect.BoolKind:
		return boolean
	case protoreflect.EnumKind:
		return enumerated
	}
	return numeric
}

func shapeOfMessage(fd protoreflect.FieldDescriptor) shape {
	if fd.IsMap() {
		return dynamic
	}
	switch fd.Message().FullName() {
	case "google.protobuf.Timestamp":
		return instant
	case "google.protobuf.Duration":
		return span
	case "google.protobuf.Struct", "google.protobuf.Any", "google.protobuf.Value":
		return dynamic
	}
	return message
}

// visit takes one value that stands at a path; false ends the walk.
type visit func(datum) bool

// each calls v for every value at the path, until v returns false. Lists on the
// way are walked through, so a comparison is true if one element makes it so.
func (p path) each(e *loggingpb.LogEntry, v visit) bool {
	return eachInMessage(e.ProtoReflect(), p.names, v)
}

func eachInMessage(m protoreflect.Message, names []string, v visit) bool {
	switch known := m.Interface().(type) {
	case *structpb.Struct:
		return eachInStruct(known, names, v)
	case *structpb.Value:
		return eachInValue(known, names, v)
	case *anypb.Any:
		return eachInAny(known, names, v)
	case *timestamppb.Timestamp:
		return len(names) > 0 || v(datum{kind: instantDatum, time: known.AsTime()})
	case *durationpb.Duration:
		return len(names) > 0 || v(datum{kind: spanDatum, number: known.AsDuration().Seconds()})
	}
	if len(names) == 0 {
		return v(datum{kind: nodeDatum, below: func(v visit) bool { return everyInMessage(m, v) }})
	}
	fd := fieldNamed(m.Descriptor(), names[0])
	if fd == nil || !m.Has(fd) && !hasDefault(fd) {
		return true
	}
	return eachInField(fd, m.Get(fd), m.Has(fd), names[1:], v)
}

// hasDefault reports whether an unset field still has a value to compare:
// severity is then DEFAULT, a number 0, a flag false. An empty string counts
// as missing; the API's documentation does not say.
func hasDefault(fd protoreflect.FieldDescriptor) bool {
	s := shapeOf(fd)
	return !fd.IsList() && fd.ContainingOneof() == nil && (s == numeric || s == boolean || s == enumerated)
}

func eachInField(fd protoreflect.FieldDescriptor, value protoreflect.Value, set bool, names []string, v visit) bool {
	switch {
	case fd.IsMap():
		return eachInMap(fd, value.Map(), names, v)
	case fd.IsList():
		list := value.List()
		for i := range list.Len() {
			if !eachInSingle(fd, list.Get(i), true, names, v) {
				return false
			}
		}
		return true
	}
	return eachInSingle(fd, value, set, names, v)
}

func eachInSingle(fd protoreflect.FieldDescriptor, value protoreflect.Value, set bool, names []string, v visit) bool {
	if fd.Message() != nil {
		return eachInMessage(value.Message(), names, v)
	}
	return len(names) > 0 || v(scalar(fd, value, set))
}

// eachInMap finds a key as it is written, in its own case: label names are
// case-sensitive.
func eachInMap(fd protoreflect.FieldDescriptor, m protoreflect.Map, names []string, v visit) bool {
	if len(names) == 0 {
		return v(datum{kind: nodeDatum, below: func(v visit) bool {
			on := true
			m.Range(func(_ protoreflect.MapKey, value protoreflect.Value) bool {
				on = everyInSingle(fd.MapValue(), value, v)
				return on
			})
			return on
		}})
	}
	value := m.Get(protoreflect.ValueOfString(names[0]).MapKey())
	if !value.IsValid() {
		return true
	}
	return eachInSingle(fd.MapValue(), value, true, names[1:], v)
}

func eachInStruct(s *structpb.Struct, names []string, v visit) bool {
	if len(names) == 0 {
		return v(datum{kind: nodeDatum, below: func(v visit) bool { return everyInStruct(s, v) }})
	}
	value, ok := s.GetFields()[names[0]]
	return !ok || eachInValue(value, names[1:], v)
}

func eachInValue(value *structpb.Value, names []string, v visit) bool {
	switch k := value.GetKind().(type) {
	case *structpb.Value_StructValue:
		return eachInStruct(k.StructValue, names, v)
	case *structpb.Value_ListValue:
		for _, element := range k.ListValue.GetValues() {
			if !eachInValue(element, names, v) {
				return false
			}
		}
		return true
	}
	return len(names) > 0 || v(scalarValue(value))
}

// eachInAny looks into a payload whose type this program knows; others are
// opaque, as if nothing stood there.
func eachInAny(a *anypb.Any, names []string, v visit) bool {
	if len(names) > 0 && names[0] == "@type" {
		return len(names) > 1 || v(textDatumOf(a.GetTypeUrl()))
	}
	if m, err := a.UnmarshalNew(); err == nil {
		return eachInMessage(m.ProtoReflect(), names, v)
	}
	return len(names) > 0 || v(datum{kind: nodeDatum, below: func(visit) bool { return true }})
}

// everyIn... call v for every scalar below, whatever its name.

func everyInMessage(m protoreflect.Message, v visit) bool {
	switch m.Interface().(type) {
	case *structpb.Struct, *structpb.Value, *anypb.Any, *timestamppb.Timestamp, *durationpb.Duration:
		return eachInMessage(m, nil, func(d datum) bool { return d.every(v) })
	}
	on := true
	m.Range(func(fd protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		on = eachInField(fd, value, true, nil, func(d datum) bool { return d.every(v) })
		return on
	})
	return on
}

func everyInSingle(fd protoreflect.FieldDescriptor, value protoreflect.Value, v visit) bool {
	return eachInSingle(fd, value, true, nil, func(d datum) bool { return d.every(v) })
}

func everyInStruct(s *structpb.Struct, v visit) bool {
	for _, value := range s.GetFields() {
		if !eachInValue(value, nil, func(d datum) bool { return d.every(v) }) {
			return false
		}
	}
	return true
}
