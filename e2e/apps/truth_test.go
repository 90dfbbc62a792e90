//go:build e2e

package apps

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A record is what the app wrote at one go, as we know it: by what its stack's records begin with, and the word in it.
type record struct {
	file       string
	start, end int // without the last line end and blank lines
	text       string
	of         *request // nil: nobody's
}

// The truth is what the log files hold.
type truth struct {
	text    map[string][]byte // by the file's name
	records map[string][]*record
}

// look cuts the log files into records and finds whose they are.
func look(s *stack, dir string, all []*request) (*truth, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil, err
	}
	t := &truth{map[string][]byte{}, map[string][]*record{}}
	for _, file := range files {
		name := filepath.Base(file)
		if t.text[name], err = os.ReadFile(file); err != nil {
			return nil, err
		}
		t.records[name] = cut(name, t.text[name], s.head)
		own(t.records[name], all, s.owner)
	}
	return t, nil
}

// cut gives the records of a file: each line that begins like a record begins one.
func cut(file string, text []byte, head *regexp.Regexp) (records []*record) {
	offset := 0
	for line := range bytes.Lines(text) {
		if head.Match(line) || len(records) == 0 {
			records = append(records, &record{file: file, start: offset})
		}
		offset += len(line)
		if r := records[len(records)-1]; len(bytes.TrimSpace(line)) > 0 {
			r.end = r.start + len(bytes.TrimRight(text[r.start:offset], "\r\n"))
		}
	}
	for _, r := range records {
		r.end = max(r.end, r.start)
		r.text = string(text[r.start:r.end])
	}
	return records
}

var aWord = regexp.MustCompile(`K[A-Z]{9}`)

// own finds the request of each record: by its word, or by what it shares with an earlier record that has one.
func own(records []*record, all []*request, owner *regexp.Regexp) {
	byWord, last := map[string]*request{}, map[string]*request{}
	for _, r := range all {
		byWord[r.word] = r
	}
	for _, r := range records {
		for _, w := range aWord.FindAllString(r.text, -1) {
			if r.of == nil {
				r.of = byWord[w]
			}
		}
		if owner == nil {
			continue
		}
		if key := owner.FindStringSubmatch(r.text); key != nil && r.of != nil {
			last[key[1]] = r.of
		} else if key != nil {
			r.of = last[key[1]]
		}
	}
}

// at gives the record in which an offset lies; nil if there is none.
func (t *truth) at(file string, offset int) *record {
	for _, r := range t.records[file] {
		if r.start <= offset && offset < max(r.end, r.start+1) {
			return r
		}
	}
	return nil
}

// has says whether a word stands in any file.
func (t *truth) has(word string) bool {
	for _, text := range t.text {
		if bytes.Contains(text, []byte(word)) {
			return true
		}
	}
	return false
}

// message is the record without what every record of the stack begins with: what it has in common with its copy in another
// file.
func (r *record) message(s *stack) string {
	return strings.TrimSpace(s.head.ReplaceAllString(r.text, ""))
}
