package localcloud

import (
	"slices"
	"sync"

	"github.com/openreplay/log-sidecar/internal/localcloud/lql"
)

// store keeps records in the order of time, each identity once.
type store struct {
	max   int64
	stats *counters

	mu      sync.Mutex
	bytes   int64
	ordered []*record // only ever appended to or replaced, so a reader's copy of the slice stays good
	late    []*record // arrived out of order; put in their places before the next reading
	seen    map[identity]bool
	logs    map[string]*logInfo
	indexes map[string]labelIndex // by label name, made at the first question for it
	file    *file
}

type logInfo struct {
	name    string
	records int
}

// labelIndex has the records by a label's value, folded as the language
// compares it. A list only grows; where records go, all indexes are dropped.
type labelIndex map[string][]*record

func newStore(max int64, stats *counters) *store {
	return &store{max: max, stats: stats, seen: map[identity]bool{}, logs: map[string]*logInfo{}, indexes: map[string]labelIndex{}}
}

// add keeps the records that are not there yet and returns them. With a file,
// they are written to it before they count.
func (s *store) add(records []*record) ([]*record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := s.unseen(records)
	if s.file != nil {
		if err := s.file.appendRecords(fresh); err != nil {
			for _, r := range fresh {
				delete(s.seen, r.identity())
			}
			return nil, err
		}
	}
	s.stats.duplicates.Add(int64(len(records) - len(fresh)))
	s.stats.written.Add(int64(len(fresh)))
	s.insert(fresh)
	return fresh, s.bound()
}

func (s *store) unseen(records []*record) []*record {
	fresh := make([]*record, 0, len(records))
	for _, r := range records {
		id := r.identity()
		if !s.seen[id] {
			s.seen[id] = true
			fresh = append(fresh, r)
		}
	}
	return fresh
}

func (s *store) insert(records []*record) {
	for _, r := range records {
		s.count(r)
		s.bytes += r.cost()
		if n := len(s.ordered); n > 0 && compareRecords(r, s.ordered[n-1]) < 0 {
			s.late = append(s.late, r)
		} else {
			s.ordered = append(s.ordered, r)
		}
		for key, index := range s.indexes {
			index.add(key, r)
		}
	}
}

// count notes the record under its log and lets it share the log's name.
func (s *store) count(r *record) {
	info := s.logs[r.log]
	if info == nil {
		info = &logInfo{name: r.log}
		s.logs[r.log] = info
	}
	r.log = info.name
	info.records++
}

func (i labelIndex) add(key string, r *record) {
	if value, ok := r.label(key); ok {
		folded := lql.Fold(value)
		i[folded] = append(i[folded], r)
	}
}

// settle puts late records in their places.
func (s *store) settle() {
	if len(s.late) == 0 {
		return
	}
	slices.SortFunc(s.late, compareRecords)
	from, _ := slices.BinarySearchFunc(s.ordered, s.late[0], compareRecords)
	merged := make([]*record, from, len(s.ordered)+len(s.late)+len(s.late)/2)
	copy(merged, s.ordered[:from])
	s.ordered = mergeRecords(merged, s.ordered[from:], s.late)
	s.late = nil
}

func mergeRecords(into, a, b []*record) []*record {
	for len(a) > 0 && len(b) > 0 {
		if compareRecords(b[0], a[0]) < 0 {
			into, b = append(into, b[0]), b[1:]
		} else {
			into, a = append(into, a[0]), a[1:]
		}
	}
	return append(append(into, a...), b...)
}

// bound lets the oldest records go when the rest costs too much. An eighth goes
// at a time, so that the price is paid seldom.
func (s *store) bound() error {
	if s.bytes <= s.max {
		return nil
	}
	s.settle()
	gone := 0
	for ; gone < len(s.ordered)-1 && s.bytes > s.max-s.max/8; gone++ {
		s.forget(s.ordered[gone])
	}
	s.ordered = slices.Clone(s.ordered[gone:])
	clear(s.indexes)
	s.stats.evicted.Add(int64(gone))
	return s.shortenFile()
}

func (s *store) forget(r *record) {
	s.bytes -= r.cost()
	delete(s.seen, r.identity())
	info := s.logs[r.log]
	if info.records--; info.records == 0 {
		delete(s.logs, r.log)
	}
}

// deleteLog removes all records of a log and reports whether there were any.
func (s *store) deleteLog(name string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logs[name] == nil {
		return false, nil
	}
	s.settle()
	kept := make([]*record, 0, len(s.ordered))
	for _, r := range s.ordered {
		if r.log == name {
			s.forget(r)
		} else {
			kept = append(kept, r)
		}
	}
	s.ordered = kept
	clear(s.indexes)
	return true, s.rewriteFile()
}

// snapshot returns all records in order; the slice is the caller's to read.
func (s *store) snapshot() []*record {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.ordered
}

// labelled returns the records with one of these values of a label, in order, at
// the price of those alone. The first question for a label looks through all
// records.
func (s *store) labelled(key string, folded []string) []*record {
	s.mu.Lock()
	index := s.indexes[key]
	if index == nil {
		index = s.index(key)
	}
	var found []*record
	for _, value := range folded {
		found = append(found, index[value]...)
	}
	s.mu.Unlock()
	slices.SortFunc(found, compareRecords)
	return found
}

// maxIndexes bounds what foreign queries can make the store remember.
const maxIndexes = 8

func (s *store) index(key string) labelIndex {
	if len(s.indexes) >= maxIndexes {
		clear(s.indexes)
	}
	s.settle()
	index := labelIndex{}
	for _, r := range s.ordered {
		index.add(key, r)
	}
	s.indexes[key] = index
	return index
}

// logNames lists the logs with entries that a test of their parent lets through.
func (s *store) logNames(in func(parent string) bool) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.logs {
		if in(parentOf(name)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
