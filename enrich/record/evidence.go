package record

import (
	"net/netip"
	"strconv"
	"strings"
)

// evidence reads what a text says of its request. What a JSON object said already stands. Only the text's first
// kilobytes and its last are read: nginx names the request at the very end.
func (r *Record) evidence() {
	head := r.Text[:min(len(r.Text), 4<<10)]
	tail := r.Text[max(len(head), len(r.Text)-2<<10):]
	first, _, _ := strings.Cut(head, "\n")
	if r.Path == "" && !r.requestIn(head) && !r.requestIn(tail) {
		r.Path, r.Query = barePath(first[min(r.message, len(first)):])
	}
	if !r.Client.IsValid() {
		if r.Client = clientIn(head); !r.Client.IsValid() {
			r.Client = clientIn(tail)
		}
	}
	if !r.Client.IsValid() {
		r.Client = connectionIn(head, tail, string(r.Fields))
	}
	if r.Status == 0 {
		r.Status = statusIn(head)
	}
	if r.Fields == nil && r.Format != "logfmt" {
		r.PID, r.Thread = pidIn(first[:min(len(first), 200)]), threadIn(first[:min(len(first), 300)])
		r.IDs = wordsUnderKeys(head)
	}
	r.Kind, r.Site = kindOf(r.Text)
}

// Unanswered says that no answer, or half of one, came of the request, and that its connection was open when the record was written: Go's
// net/http says so of a handler's panic before it closes the connection (net/http/server.go, conn.serve).
func (r *Record) Unanswered() bool { return strings.HasPrefix(r.Message(), "http: panic serving ") }

var methods = [...]string{"GET ", "POST ", "PUT ", "DELETE ", "PATCH ", "HEAD ", "OPTIONS "}

// requestIn looks for "GET /path", and for the ways of Flask and Django to name one.
func (r *Record) requestIn(text string) bool {
	if strings.IndexByte(text, '/') < 0 {
		return false
	}
	for _, method := range methods {
		for rest := text; ; {
			before, after, found := strings.Cut(rest, method)
			if !found {
				break
			}
			if url := wordAt(after); (before == "" || !isLetter(before[len(before)-1])) && (strings.HasPrefix(url, "/") || strings.Contains(url, "://")) {
				r.Method = method[:len(method)-1]
				r.Path, r.Query, _ = strings.Cut(pathOf(url), "?")
				return true
			}
			rest = after
		}
	}
	for _, phrase := range [...]string{"Exception on /", "Internal Server Error: /"} {
		if _, after, found := strings.Cut(text, phrase); found {
			r.Path, r.Query, _ = strings.Cut("/"+wordAt(after), "?")
			if _, method, found := strings.Cut(after[:min(len(after), 300)], " ["); found {
				r.Method = methodOf(method)
			}
			return true
		}
	}
	return false
}

func methodOf(text string) string {
	for _, method := range methods {
		if method = method[:len(method)-1]; strings.HasPrefix(text, method) && strings.HasPrefix(text[len(method):], "]") {
			return method
		}
	}
	return ""
}

// wordAt gives the word that a text begins with, up to white space or a quote.
func wordAt(text string) string {
	if end := strings.IndexAny(text, " \t\r\n\"'"); end >= 0 {
		return text[:end]
	}
	return text
}

// barePath finds a path that a message names without a method.
func barePath(message string) (path, query string) {
	for i := 0; i < len(message); i++ {
		at := strings.IndexByte(message[i:], '/')
		if at < 0 {
			break
		}
		i += at
		if i > 0 && !strings.ContainsRune(" \t\"'([:=", rune(message[i-1])) {
			continue
		}
		end := i
		for end < len(message) && !strings.ContainsRune(" \t\"'<>,;)]", rune(message[end])) {
			end++
		}
		if p := strings.TrimRight(message[i:end], ".:"); len(p) > 1 && p[1] != '/' && !looksLikeFile(p) {
			path, query, _ = strings.Cut(p, "?")
			return path, query
		}
		i = end
	}
	return "", ""
}

// looksLikeFile keeps the paths of source files and system directories apart from those of requests.
func looksLikeFile(p string) bool {
	for _, dir := range [...]string{"/usr/", "/srv/", "/var/", "/home/", "/etc/", "/opt/", "/app/", "/tmp/", "/lib/", "/proc/", "/dev/", "/bin/", "/mnt/", "/run/", "/data/"} {
		if strings.HasPrefix(p, dir) {
			return true
		}
	}
	for _, ext := range [...]string{".py", ".rb", ".go", ".java", ".js", ".ts", ".pm", ".pl", ".so", ".cs", ".rs"} {
		if i := strings.LastIndex(p, ext); i > 0 && (i+len(ext) == len(p) || p[i+len(ext)] == ':') {
			return true
		}
	}
	return false
}

// pathOf takes scheme and host off an address.
func pathOf(url string) string {
	if i := strings.Index(url, "://"); i > 0 && i < 8 {
		rest := url[i+3:]
		if j := strings.IndexByte(rest, '/'); j >= 0 {
			return rest[j:]
		}
		return "/"
	}
	return url
}

// clientIn finds the client's address where a log names it: Apache, nginx, Go, Rails.
func clientIn(text string) netip.AddrPort {
	for _, before := range [...]string{"[client ", "[remote ", "client: ", "panic serving ", " from ", "\" for ", "peer: "} {
		_, after, found := strings.Cut(text, before)
		if !found {
			continue
		}
		word := after[:min(len(after), 60)]
		if end := strings.IndexAny(word, " ,;\t\n\""); end >= 0 {
			word = word[:end]
		}
		word = strings.TrimSuffix(strings.TrimRight(word, ":."), "]")
		if ap, err := netip.ParseAddrPort(word); err == nil {
			return ap
		}
		if a, err := netip.ParseAddr(strings.Trim(word, "[]")); err == nil {
			return netip.AddrPortFrom(a, 0)
		}
	}
	return netip.AddrPort{}
}

// ofConnection says whether an address may be one that a connection has for itself alone, where the proxy gives it one.
func ofConnection(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	b := a.As4()
	return b[0] == 127 && b[1] != 0
}

// connectionIn finds such an address wherever it stands. Of two different ones neither counts: a client can write one too.
func connectionIn(texts ...string) (found netip.AddrPort) {
	for _, text := range texts {
		for rest := text; ; {
			i := strings.Index(rest, "127.")
			if i < 0 {
				break
			}
			inside := i > 0 && (isDigit(rest[i-1]) || isLetter(rest[i-1]) || rest[i-1] == '.')
			rest = rest[i:]
			end := 0
			for end < len(rest) && (isDigit(rest[end]) || rest[end] == '.') {
				end++
			}
			word := strings.TrimRight(rest[:end], ".")
			rest = rest[end:]
			a, err := netip.ParseAddr(word)
			if inside || err != nil || !ofConnection(a) {
				continue
			}
			if found.IsValid() && found.Addr() != a {
				return netip.AddrPort{}
			}
			found = netip.AddrPortFrom(a, 0)
		}
	}
	return found
}

// statusIn finds the status of an answer: HTTP/1.1" 500, status=500, "status": 500, status code 500.
func statusIn(text string) int {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, " HTTP/")
		if !found {
			break
		}
		after = strings.TrimLeft(after, "0123456789.\"")
		if n := statusAt(strings.TrimLeft(after, " ")); n != 0 {
			return n
		}
		rest = after
	}
	for rest := text; ; {
		i := strings.Index(rest, "tatus")
		if i < 0 {
			return 0
		}
		rest = rest[i+5:]
		value := strings.TrimLeft(strings.TrimPrefix(strings.TrimPrefix(strings.TrimLeft(rest, " _-"), "code"), "Code"), "\"'=: ")
		if n := statusAt(value); n != 0 {
			return n
		}
	}
}

func statusAt(text string) int {
	if len(text) < 3 || len(text) > 3 && isDigit(text[3]) {
		return 0
	}
	if n, err := strconv.Atoi(text[:3]); err == nil && n >= 100 && n < 600 {
		return n
	}
	return 0
}

// pidIn finds the process: [pid 7:tid 8], #7] of Ruby, 7#7: of nginx, app[7]: of syslog, [7] of gunicorn, 7 --- of
// Spring Boot.
func pidIn(first string) int {
	if _, after, found := strings.Cut(first, "[pid "); found {
		return leadingInt(after)
	}
	for i := 0; i < len(first); i++ {
		if !isDigit(first[i]) || i > 0 && !strings.ContainsRune(" [#", rune(first[i-1])) {
			continue
		}
		n := run(first, i)
		rest := first[i+n:]
		switch {
		case n > 7:
		case i > 0 && first[i-1] == '#' && strings.HasPrefix(rest, "]"), strings.HasPrefix(rest, "#") && i > 0,
			i > 1 && first[i-1] == '[' && strings.HasPrefix(rest, "]"), strings.HasPrefix(rest, " --- ") && i > 0:
			return leadingInt(first[i:])
		}
		i += n
	}
	return 0
}

func leadingInt(text string) int {
	n, _ := strconv.Atoi(text[:run(text, 0)])
	return n
}

// threadIn finds the thread: [pid 7:tid 8], a name in brackets as [http-nio-8080-exec-3], a column as :qtp1-12: of Jetty.
func threadIn(first string) string {
	if _, after, found := strings.Cut(first, ":tid "); found {
		if id, _, found := strings.Cut(after, "]"); found {
			return id
		}
	}
	for rest := first; ; {
		_, after, found := strings.Cut(rest, "[")
		if !found {
			break
		}
		if inside, _, found := strings.Cut(after, "]"); found && isThread(strings.TrimSpace(inside)) {
			return strings.TrimSpace(inside)
		}
		rest = after
	}
	for column := range strings.SplitSeq(first, ":") {
		if len(column) > 3 && isLetter(column[0]) && strings.Contains(column, "-") && isThread(column) {
			return column
		}
	}
	return ""
}

// isThread says whether a name is a thread's: "main", or letters with a number at the end.
func isThread(name string) bool {
	if name == "main" {
		return true
	}
	n := len(name)
	if n < 4 || n > 64 || !isDigit(name[n-1]) || strings.ContainsAny(name, " =,\"") || strings.Count(name, ":") > 1 {
		return false
	}
	cut := strings.TrimRight(name, "0123456789")
	return cut != "" && strings.ContainsAny(cut[len(cut)-1:], "-_#") && strings.ContainsFunc(cut, func(r rune) bool { return isLetter(byte(r)) })
}

// kindFrames is how many of a trace's top frames tell kinds of errors apart.
const kindFrames = 3

// kindOf condenses a text to what is the same whenever the same error comes again: the exception's type and the top
// frames without line numbers and addresses, and apart from these the line numbers. Without either it is empty.
func kindOf(text string) (kind, site string) {
	var parts []string
	var lines []byte
	frames := 0
	for line := range strings.SplitSeq(text[:min(len(text), 16<<10)], "\n") {
		if isFrame(line) {
			if frames++; frames > kindFrames {
				break
			}
			parts = append(parts, withoutNumbers(strings.TrimSpace(line)))
			lines = append(appendLines(lines, line), '|')
			continue
		}
		if len(parts) == 0 {
			if name := typeIn(line); name != "" {
				parts = append(parts, name)
			}
		}
	}
	return strings.Join(parts, "|"), string(lines)
}

// appendLines adds the line numbers of a frame: shop.js:24:49, Shop.java:24, shop.php(24), line 24.
func appendLines(b []byte, frame string) []byte {
	for i := 1; i < min(len(frame), 240); i++ {
		if !isDigit(frame[i]) || isDigit(frame[i-1]) {
			continue
		}
		n := run(frame, i)
		if before := frame[i-1]; n < 8 && (before == ':' || before == '(' || strings.HasSuffix(frame[:i], "line ")) {
			b = append(append(b, ':'), frame[i:i+n]...)
		}
		i += n
	}
	return b
}

func isFrame(line string) bool {
	line = strings.TrimLeft(line, " \t")
	for _, p := range [...]string{"at ", "File \"", "from ", "#", "-> "} {
		if strings.HasPrefix(line, p) {
			return p != "#" || len(line) > 1 && isDigit(line[1])
		}
	}
	return strings.Contains(line, ".go:") && strings.Contains(line, " +0x") || strings.Contains(line, ".rb:") && strings.Contains(line, ":in ")
}

// typeIn finds the exception's type in a line.
func typeIn(line string) string {
	for i := 0; i < len(line) && i < 2048; i++ {
		if i > 0 && !isSpace(line[i-1]) && line[i-1] != '(' || !isLetter(line[i]) {
			continue
		}
		if n := exceptionName([]byte(line[i:min(len(line), i+256)])); n > 0 {
			return line[i : i+n]
		}
	}
	return ""
}

func withoutNumbers(s string) string {
	out := make([]byte, 0, min(len(s), 160))
	for i := range min(len(s), 240) {
		if !isDigit(s[i]) && len(out) < 160 {
			out = append(out, s[i])
		}
	}
	return string(out)
}
