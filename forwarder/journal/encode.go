package journal

import "encoding/binary"

func appendKey(b []byte, k Key) []byte {
	b = appendString(b, k.File)
	return binary.AppendUvarint(b, uint64(k.Offset))
}

func appendString[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBatch(b []byte, batch *Batch) []byte {
	b = binary.AppendUvarint(b, uint64(batch.Time))
	b = appendString(b, batch.Sink)
	b = binary.AppendUvarint(b, uint64(len(batch.Entries)))
	for i := range batch.Entries {
		b = appendKey(b, batch.Entries[i].Key)
		b = appendString(b, batch.Entries[i].Data)
	}
	for _, k := range batch.Folded {
		b = appendKey(b, k)
	}
	return b
}

func decodeBatch(payload []byte) (Batch, bool) {
	r := reader{b: payload}
	batch := Batch{Time: int64(r.uvarint()), Sink: string(r.bytes())}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		batch.Entries = append(batch.Entries, Sealed{
			Key:  Key{File: string(r.bytes()), Offset: int64(r.uvarint())},
			Data: r.bytes(),
		})
	}
	for len(r.b) > 0 && !r.bad {
		batch.Folded = append(batch.Folded, Key{File: string(r.bytes()), Offset: int64(r.uvarint())})
	}
	return batch, !r.bad
}

// reader takes values off the front of b; bad says that one was not there.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}
