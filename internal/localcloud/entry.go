package localcloud

import (
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"fmt"
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
// the order and in the set of identities (measured, rounded up).
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

func newRecord(e *loggingpb.LogEntry) (*record, error) {
	wire, err := proto.Marshal(e)
	if err != nil {
		return nil, err
	}
	t := e.GetTimestamp()
	return &record{wire: wire, at: moment{t.GetSeconds(), t.GetNanos()}, log: e.GetLogName(), id: e.GetInsertId()}, nil
}

func (r *record) entry() *loggingpb.LogEntry {
	e := new(loggingpb.LogEntry)
	if err := proto.Unmarshal(r.wire, e); err != nil {
		panic("a kept entry cannot be decoded: " + err.Error()) // it was encoded here
	}
	return e
}

// only decodes the named top-level fields and passes over the others, at a
// tenth of the price of a whole entry.
func (r *record) only(fields []protoreflect.FieldNumber, scratch []byte) (*loggingpb.LogEntry, []byte) {
	scratch = scratch[:0]
	eachField(r.wire, func(n protowire.Number, whole, _ []byte) bool {
		for _, f := range fields {
			if f == n {
				scratch = append(scratch, whole...)
			}
		}
		return true
	})
	return (&record{wire: scratch}).entry(), scratch
}

// eachField yields the fields of a message: the whole field, and, of those with
// a length, the content alone.
func eachField(wire []byte, yield func(n protowire.Number, whole, content []byte) bool) {
	for len(wire) > 0 {
		number, kind, tag := protowire.ConsumeTag(wire)
		if tag < 0 {
			return
		}
		size := protowire.ConsumeFieldValue(number, kind, wire[tag:])
		if size < 0 {
			return
		}
		whole, content := wire[:tag+size], []byte(nil)
		if kind == protowire.BytesType {
			content, _ = protowire.ConsumeBytes(wire[tag:])
		}
		if !yield(number, whole, content) {
			return
		}
		wire = wire[tag+size:]
	}
}

// label finds a label's value without decoding the entry.
func (r *record) label(key string) (value string, ok bool) {
	eachField(r.wire, func(n protowire.Number, _, pair []byte) bool {
		if n != labelsField {
			return true
		}
		var k, v []byte
		eachField(pair, func(n protowire.Number, _, content []byte) bool {
			switch n {
			case 1:
				k = content
			case 2:
				v = content
			}
			return true
		})
		if string(k) == key {
			value, ok = string(v), true
		}
		return !ok
	})
	return value, ok
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
