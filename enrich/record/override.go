package record

import (
	"bytes"
	"time"
)

// headOf reads a line's head: by the pattern of the options where there is one, else by what is known of logs.
func (s *Splitter) headOf(b []byte) head {
	if s.options.Head == nil {
		return s.parseHead(b)
	}
	m := s.options.Head.FindSubmatchIndex(b[:min(len(b), 4<<10)])
	if m == nil {
		return head{}
	}
	h := head{format: "pattern", strong: true, shape: shapeOf("pattern", 0, 0, true), message: m[1]}
	for i, name := range s.options.Head.SubexpNames() {
		if name == "" || m[2*i] < 0 {
			continue
		}
		text := b[m[2*i]:m[2*i+1]]
		switch name {
		case "time":
			h.stamp, _ = parseStamp(text, 0)
		case "level":
			h.sev, h.level = levelOf(bytes.TrimSpace(text))
		case "message":
			h.message = m[2*i]
		}
	}
	return h
}

// One cuts one record again whose bytes are known: data is the file's at the record's Offset, Length bytes of it. It
// gives nil where they are no record any more.
func One(options Options, learned []byte, offset int64, data []byte, arrived time.Time) *Record {
	options.All = true
	s := New(options, learned)
	var found *Record
	take := func(r *Record) {
		if r.Offset == offset {
			found = r
		}
	}
	s.Feed(offset, data, arrived, take)
	s.Flush(take)
	return found
}
