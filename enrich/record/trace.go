package record

import (
	"bytes"
	"regexp"
)

// class says what a line without a head of its own looks like.
type class byte

const (
	plain  class = iota
	blank        // nothing but white space
	indent       // led by white space
	frame        // a line of a stack trace, or one that binds two traces together
	starts       // the first line of a stack trace
)

// language is whose stack trace it is.
type language byte

const (
	noLanguage language = iota
	java                // and what looks like it: JavaScript, C#
	python
	golang
	php
	ruby
	rust
	dart
	perl
	node // Node's file:line before an uncaught exception
)

// classify looks at a line alone.
func classify(b []byte) (class, language) {
	text := bytes.TrimLeft(b, " \t")
	if len(bytes.TrimRight(text, "\r")) == 0 {
		return blank, 0
	}
	if len(text) < len(b) {
		return classifyIndented(text)
	}
	return classifyFlush(b)
}

func classifyIndented(text []byte) (class, language) {
	switch {
	case bytes.HasPrefix(text, []byte("at ")), bytes.HasPrefix(text, []byte("Caused by: ")), bytes.HasPrefix(text, []byte("Suppressed: ")),
		bytes.HasPrefix(text, []byte("... ")) && isMore(text):
		return frame, java
	case bytes.HasPrefix(text, []byte("File \"")):
		return frame, python
	case bytes.HasPrefix(text, []byte("from ")) && bytes.Contains(text, []byte(":in ")):
		return frame, ruby
	case bytes.HasPrefix(text, []byte("panic: ")):
		return starts, golang
	case bytes.Contains(text, []byte(" called at ")):
		return frame, perl
	case bytes.Contains(text, []byte(":in ")) && rubyFrame.Match(text[:min(len(text), 300)]):
		return frame, ruby
	case bytes.HasPrefix(text, []byte("+ Exception Group Traceback")):
		return starts, python
	}
	return indent, 0
}

func isMore(text []byte) bool {
	return bytes.HasSuffix(text, []byte(" more")) || bytes.Contains(text, []byte("common frames omitted"))
}

// A mark is how a line of a stack trace begins.
type mark struct {
	text string
	class
	language
}

var marks = []mark{
	{"Traceback (most recent call last)", starts, python},
	{"Exception in thread ", starts, java}, {"Exception in callback ", starts, java},
	{"Task exception was never retrieved", starts, java}, {"Future exception was never retrieved", starts, java},
	{"Exception ignored in", starts, java}, {"#<Thread:", starts, ruby},
	{"Caused by: ", frame, java}, {"Suppressed: ", frame, java}, {"Wrapped by: ", frame, java}, {"nested exception is: ", frame, java},
	{"---> ", frame, java}, {"--- End of ", frame, java}, {"at ", frame, java},
	{"During handling of the above exception", frame, python}, {"The above exception was the direct cause", frame, python},
	{"panic: ", starts, golang}, {"fatal error: ", starts, golang}, {"goroutine ", frame, golang}, {"created by ", frame, golang},
	{"[signal ", frame, golang}, {"exit status ", frame, golang}, {"runtime: ", frame, golang}, {"SIGQUIT: ", starts, golang},
	{"PHP Fatal error:", starts, php}, {"PHP Parse error:", starts, php}, {"Fatal error: Uncaught", starts, php}, {"Stack trace:", frame, php},
	{"[stacktrace]", frame, php}, {"[previous exception]", frame, php}, {"Next ", frame, php}, {"#", frame, php}, {"\"}", frame, php},
	{"thread '", starts, rust}, {"stack backtrace:", frame, rust}, {"note: run with `RUST_BACKTRACE", frame, rust}, {"note: Some details", frame, rust},
	{"Unhandled exception:", starts, dart}, {"<asynchronous suspension>", frame, dart},
	{"Unhandled exception.", starts, java}, {"Unhandled Exception:", starts, java}, {"Node.js v", frame, java},
	{"===== TRACE ", frame, java}, {"Uncaught ", starts, java}, {"terminate called after", starts, java}, {"Exception Group Traceback", starts, python},
	{"Process terminated.", starts, java}, {"nested exception is", frame, java}, {"  what():", frame, java},
	{"** (", starts, java},
}

var marksByFirst = func() (lists [256][]mark) {
	for _, m := range marks {
		lists[m.text[0]] = append(lists[m.text[0]], m)
	}
	return lists
}()

var (
	rubyFrame = regexp.MustCompile("^[^ ]+:\\d+:in ['`]")
	nodePlace = regexp.MustCompile(`^(?:file://|node:|/|[A-Z]:\\)[^ ]*:\d+$`)
)

func classifyFlush(b []byte) (class, language) {
	for _, m := range marksByFirst[b[0]] {
		if !bytes.HasPrefix(b, []byte(m.text)) {
			continue
		}
		switch m.text {
		case "#":
			if n := run(b, 1); n == 0 || len(b) > n+1 && b[n+1] != ' ' && b[n+1] != '"' {
				continue
			}
		case "goroutine ":
			if !bytes.Contains(b[:min(len(b), 60)], []byte(" [")) {
				continue
			}
			return frame, golang
		case "Next ":
			if i := bytes.IndexByte(b, ':'); i < 0 || exceptionName(b[5:]) == 0 {
				continue
			}
		case "at ":
			if !bytes.ContainsAny(b, "(") {
				continue
			}
		case "thread '":
			if !bytes.Contains(b, []byte("panicked at")) {
				continue
			}
		}
		return m.class, m.language
	}
	head := b[:min(len(b), 300)]
	switch {
	case exceptionName(b) > 0, className(b) > 0:
		return starts, java
	case bytes.Contains(head, []byte(":in ")) && rubyFrame.Match(head):
		if bytes.HasSuffix(b, []byte(")")) {
			return starts, ruby
		}
		return frame, ruby
	case (b[0] == '/' || b[0] == 'f' || b[0] == 'n') && nodePlace.Match(head):
		return starts, node
	}
	return plain, 0
}

// exceptionName gives the length of the exception's class name that a line begins with: a dotted or :: name whose last
// part ends in Error, Exception, Throwable or the like, followed by a colon, by " (" as Ruby has it, or by nothing.
func exceptionName(b []byte) int {
	end := 0
	for end < len(b) && end < 200 && (isLetter(b[end]) || isDigit(b[end]) || has("._$\\", b[end]) || b[end] == ':' && end+2 < len(b) && b[end+1] == ':' && isLetter(b[end+2]) || b[end] == ':' && end > 0 && b[end-1] == ':') {
		end++
	}
	name := b[:end]
	if end < 5 || !isLetter(b[0]) {
		return 0
	}
	if end < len(b) && !(b[end] == ':' && (end+1 == len(b) || b[end+1] == ' ' || b[end+1] == '\r')) && !bytes.HasPrefix(b[end:], []byte(" (")) && b[end] != '\r' &&
		!(b[end] == ' ' && end+1 < len(b) && b[end+1] == '[') {
		return 0
	}
	for _, suffix := range [...]string{"Error", "Exception", "Throwable", "ExceptionGroup"} {
		if bytes.HasSuffix(name, []byte(suffix)) {
			return end
		}
	}
	return 0
}

// className gives the length of a Java class's full name before a colon: an exception of one's own need not be called
// so, as com.acme.StockShortage. Only a frame below it tells.
func className(b []byte) int {
	end := bytes.IndexByte(b[:min(len(b), 200)], ':')
	if end < 5 || !isLower(b[0]) || end+1 < len(b) && b[end+1] != ' ' || bytes.Count(b[:end], []byte(".")) < 2 ||
		bytes.ContainsAny(b[:end], " \t/") || !isUpper(b[bytes.LastIndexByte(b[:end], '.')+1]) {
		return 0
	}
	return end
}

// goLine says whether a line belongs to a goroutine's dump: a function with its arguments.
func goLine(b []byte) bool {
	return len(b) > 2 && b[len(b)-1] == ')' && bytes.IndexByte(b, '(') > 0 && bytes.IndexByte(b[:bytes.IndexByte(b, '(')], ' ') < 0 ||
		bytes.HasPrefix(b, []byte("main.")) || registerLine(b)
}

func registerLine(b []byte) bool {
	f := bytes.Fields(b)
	return len(f) == 2 && bytes.HasPrefix(f[1], []byte("0x"))
}

// opensBrace says whether what a line ends with leaves something open: an object that is dumped over lines.
func opensBrace(b []byte) bool {
	b = bytes.TrimRight(b, " \r")
	return len(b) > 0 && has("{[(", b[len(b)-1])
}

func closesBrace(b []byte) bool { return len(b) > 0 && has("}])", b[0]) }

// pythonGoesOn says whether a line goes on with the message of a Python exception.
func pythonGoesOn(b []byte) bool {
	for _, p := range [...]string{"[SQL:", "[parameters:", "(Background on", "DETAIL:", "HINT:", "LINE ", "CONTEXT:", "The above", "The full traceback", "hint:", "note:", "  "} {
		if bytes.HasPrefix(b, []byte(p)) {
			return true
		}
	}
	return false
}

// balance counts the brackets that a line leaves open.
func balance(b []byte) int {
	n := 0
	for _, c := range b {
		switch c {
		case '(', '[', '{':
			n++
		case ')', ']', '}':
			n--
		}
	}
	return n
}
