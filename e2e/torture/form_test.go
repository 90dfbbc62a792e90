//go:build e2e

package torture

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// formRows are the ways in which text stands in a log. Each is written through rotations and a SIGKILL.
var formRows = []row{
	{"CRLF", "SIGKILL", "", func(w *world) { w.formed("", crlf) }},
	{"UTF-16, little end first", "SIGKILL", "", func(w *world) { w.formed("\xff\xfe", wide(0, 8)) }},
	{"UTF-16, big end first", "SIGKILL", "", func(w *world) { w.formed("\xfe\xff", wide(8, 0)) }},
	{"UTF-8 with its mark", "SIGKILL", "", func(w *world) { w.formed("\xef\xbb\xbf", nil) }},
	{"Latin-1 and invalid bytes", "SIGKILL", "", func(w *world) { w.formed("", foreign) }},
	{"CRI, lines in parts", "SIGKILL", "", func(w *world) { w.formed("", cri) }},
	{"docker's JSON", "SIGKILL", "", func(w *world) { w.formed("", docker) }},
	{"NUL holes after a truncation", "none", "", func(w *world) { w.holes(nothing) }},
	{"NUL holes after a truncation", "SIGKILL", "", func(w *world) { w.holes(func() { w.kill(); w.launch() }) }},
	{"a line of 1 GB", "none", "", func(w *world) { w.endlessLine(nothing) }},
	{"a line of 1 GB", "SIGKILL", "", func(w *world) { w.endlessLine(func() { w.kill(); w.launch() }) }},
}

// formed writes a log in a form, with long lines among the others.
func (w *world) formed(head string, form func(string) string) {
	w.head, w.form = head, form
	w.begin(300)
	w.open("app.log")
	for range 4 {
		w.some(20)
		w.put(w.errorWith(strings.Repeat("long ", 8000)))
		w.kill()
		w.some(20)
		w.launch()
		w.some(20)
		rename(9)(w)
		w.rotations++
	}
	w.some(5)
}

func crlf(line string) string { return strings.TrimSuffix(line, "\n") + "\r\n" }

// foreign is what an app writes that knows nothing of UTF-8.
func foreign(line string) string {
	return strings.Replace(line, " - line", " - M\xfcller \xff\xfe\xc0 line", 1)
}

// wide is UTF-16, with the low and the high byte shifted so far to the left.
func wide(low, high int) func(string) string {
	return func(line string) string {
		var b []byte
		for _, unit := range utf16.Encode([]rune(line)) {
			b = append(b, byte(unit>>low), byte(unit>>high))
		}
		return string(b)
	}
}

// cri is how container runtimes write: at most 16 KiB of a line at once.
func cri(line string) string {
	const most = 16 << 10
	var b strings.Builder
	text := strings.TrimSuffix(line, "\n")
	for {
		n, tag := len(text), "F"
		if n > most {
			n, tag = most, "P"
		}
		fmt.Fprintf(&b, "%s stdout %s %s\n", time.Now().Format(time.RFC3339Nano), tag, text[:n])
		if text = text[n:]; text == "" {
			return b.String()
		}
	}
}

// docker is the json-file driver's: also at most 16 KiB at once; the last part has the line end.
func docker(line string) string {
	const most = 16 << 10
	var b strings.Builder
	for text := line; text != ""; {
		n := min(len(text), most)
		part, _ := json.Marshal(map[string]string{"log": text[:n], "stream": "stderr", "time": time.Now().Format(time.RFC3339Nano)})
		b.Write(append(part, '\n'))
		text = text[n:]
	}
	return b.String()
}

// holes has an app that does not append: after each truncation it writes on at its old offset, behind a hole.
func (w *world) holes(trouble func()) {
	w.begin(200)
	path := w.at("app.log")
	file, err := os.Create(path)
	w.must(err)
	defer file.Close()
	w.file, w.path = file, path
	for range 4 {
		w.some(20)
		w.arrived() // what a truncation cuts off unread is nowhere
		w.must(os.Truncate(path, 0))
		w.rotations++
		w.some(10)
		trouble()
		w.some(10)
	}
	w.file = nil
}

// endlessLine writes a line of 1 GB. Its error is cut, and the record after it is whole; the sidecar stays small.
func (w *world) endlessLine(trouble func()) {
	w.begin(20)
	w.open("app.log")
	w.some(3)
	w.put(strings.TrimSuffix(w.error(), "\n"))
	cut := w.last
	piece := strings.Repeat("and so on ", 100<<10)
	for n := range 1000 {
		w.put(piece)
		if n == 500 {
			trouble()
			w.up()
		}
	}
	w.put("\n")
	w.some(5)
	w.arrived()
	for _, e := range w.stage.Entries(fmt.Sprintf("labels.requestId=%q", cut)) {
		if !strings.HasSuffix(e.JSONPayload.Message, "its rest was left out]") {
			w.t.Errorf("nothing says that the line was cut: %.80q ... %q", e.JSONPayload.Message, e.JSONPayload.Message[max(0, len(e.JSONPayload.Message)-80):])
		}
	}
	if peak := w.peak(); peak > 64<<20 {
		w.t.Errorf("the sidecar took %d MiB", peak>>20)
	}
}

// peak is the most memory that the sidecar had.
func (w *world) peak() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.sidecar.Process.Pid))
	w.must(err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	w.must(err)
	return kilobytes << 10
}
