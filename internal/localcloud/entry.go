package localcloud

import (
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// record is an entry as it is kept: its wire form, which takes a fraction of
// the memory of the decoded one, and what it is sorted and found by.
// It never changes.
type record struct {
	wire []byte
	at   moment
	log  string // the whole log name, shared by all records of the log
	id   string
}

type moment struct {
	seconds int64
	nanos   int32
}

// identity is what makes two entries one, as the API defines it.
type identity struct {
	parent string
	at     moment
	id     string
}

func (r *record) identity() identity { return identity{parentOf(r.log), r.at, r.id} }

// overhead is what a record costs beside its wire form: itself, its place in
// the order and in the set of identities. Measured: 300 bytes. Label indexes,
// which only queries make, come on top.
const overhead = 320

func (r *record) cost() int64 { return int64(len(r.wire)) + overhead }

func compareRecords(a, b *record) int {
	return cmp.Or(
		cmp.Compare(a.at.seconds, b.at.seconds),
		cmp.Compare(a.at.nanos, b.at.nanos),
		strings.Compare(a.id, b.id),
		strings.Compare(a.log, b.log),
	)
}

// parentOf is the resource that a log belongs to, such as "projects/P".
func parentOf(logName string) string {
	parent, _, _ := strings.Cut(logName, "/logs/")
	return parent
}

// newRecord joins an entry's bytes with those of the fields added to it:
// protobuf reads the two one after the other as one message.
func newRecord(e *loggingpb.LogEntry, wire, added []byte) *record {
	t := e.GetTimestamp()
	return &record{
		wire: slices.Concat(wire, added),
		at:   moment{t.GetSeconds(), t.GetNanos()}, log: e.GetLogName(), id: e.GetInsertId(),
	}
}

func (r *record) entry() *loggingpb.LogEntry {
	e := new(loggingpb.LogEntry)
	if err := proto.Unmarshal(r.wire, e); err != nil {
		panic("a kept entry cannot be decoded: " + err.Error()) // it was encoded here
	}
	return e
}

// only decodes the named top-level fields and passes over the others, at a
// fraction of the price of a whole entry.
func (r *record) only(wanted []protoreflect.FieldNumber, scratch []byte) (*loggingpb.LogEntry, []byte) {
	scratch = scratch[:0]
	for f := range fields(r.wire) {
		if slices.Contains(wanted, f.number) {
			scratch = append(scratch, f.whole...)
		}
	}
	return (&record{wire: scratch}).entry(), scratch
}

// label finds a label's value without decoding the entry.
func (r *record) label(key string) (value string, ok bool) {
	for f := range fields(r.wire) {
		if f.number != labelsField {
			continue
		}
		if k, v := pair(f.content); string(k) == key {
			value, ok = string(v), true // a later one replaces an earlier, as in protobuf
		}
	}
	return value, ok
}

// pair reads an element of a map of strings.
func pair(wire []byte) (key, value []byte) {
	for f := range fields(wire) {
		switch f.number {
		case 1:
			key = f.content
		case 2:
			value = f.content
		}
	}
	return key, value
}

// field is one field of a message's wire form.
type field struct {
	number  protowire.Number
	whole   []byte
	content []byte // of strings and messages
}

func fields(wire []byte) iter.Seq[field] {
	return func(yield func(field) bool) {
		for len(wire) > 0 {
			number, kind, tag := protowire.ConsumeTag(wire)
			if tag < 0 {
				return
			}
			f := field{number: number}
			var size int
			if kind == protowire.BytesType {
				f.content, size = protowire.ConsumeBytes(wire[tag:])
			} else {
				size = protowire.ConsumeFieldValue(number, kind, wire[tag:])
			}
			if size < 0 {
				return
			}
			f.whole, wire = wire[:tag+size], wire[tag+size:]
			if !yield(f) {
				return
			}
		}
	}
}

var labelsField = (*loggingpb.LogEntry)(nil).ProtoReflect().Descriptor().Fields().ByName("labels").Number()

// idSource makes the insertIds of entries that came without: unlike those of
// another run, and rising, so that entries without a time of their own keep
// their order.
type idSource struct {
	run  string
	last *atomic.Uint64
}

func newIDSource() idSource {
	var b [5]byte
	rand.Read(b[:])
	return idSource{strings.ToLower(base32.HexEncoding.EncodeToString(b[:])), new(atomic.Uint64)}
}

func (s idSource) next() string { return fmt.Sprintf("%s%012x", s.run, s.last.Add(1)) }
