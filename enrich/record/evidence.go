package record

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

var (
	requestLine = regexp.MustCompile(`\b(GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS) ((?:https?://[^\s"]+)|/[^\s"]*)`)
	flaskPath   = regexp.MustCompile(`(?:Exception on|Internal Server Error:) (/\S*)(?: \[([A-Z]+)\])?`)
	barePath    = regexp.MustCompile(`(?:^|[\s"'(\[:=])(/[A-Za-z0-9_%~.+-][^\s"'<>,;)\]]*)`)
	clientAddr  = regexp.MustCompile(`(?:\[client |\[remote |client: |serving |from |for )([0-9a-fA-F.:\[\]]+?)(?:[\]\s,]|: |$)`)
	pidText     = regexp.MustCompile(`\[pid (\d+)|#(\d+)\] |(\d+)#\d+:|\w\[(\d+)\]:|^\S+ \S+ +[A-Z]+ (\d+) ---| \[(\d{2,7})\] `)
	threadText  = regexp.MustCompile(`\[pid \d+:tid (\d+)\]|\[ *([A-Za-z][\w.:/-]*[-.]\d[\w.:-]*|main)\]|-(?:exec|thread)-\d+|:([A-Za-z][\w-]*-\d+):`)
	statusText  = regexp.MustCompile(`(?i)(?:HTTP/\d(?:\.\d)?"? |status(?:[ _-]?code)?["']?[=: ]+)([1-5]\d\d)\b`)
	frameText   = regexp.MustCompile(`^\s*(?:at |File "|from |#\d+ |-> )`)
)

// evidence reads what a text says of its request. What a JSON object said already stands.
func (r *Record) evidence() {
	head := r.Text[:min(len(r.Text), 4<<10)]
	tail := r.Text[max(len(head), len(r.Text)-2<<10):]
	r.requestOf(head, tail)
	if !r.Client.IsValid() {
		r.Client = addrOf(head)
		if !r.Client.IsValid() && tail != "" {
			r.Client = addrOf(tail)
		}
	}
	if r.Fields == nil {
		first, _, _ := strings.Cut(head, "\n")
		r.PID, r.Thread = pidOf(first), threadOf(first)
		if r.IDs == nil {
			r.IDs = wordsUnderKeys(r.Text)
		}
	}
	if r.Status == 0 {
		if m := statusText.FindStringSubmatch(head); m != nil {
			r.Status, _ = strconv.Atoi(m[1])
		}
	}
	r.Kind = kindOf(r.Text)
}

func (r *Record) requestOf(texts ...string) {
	if r.Path != "" {
		return
	}
	for _, text := range texts {
		if m := requestLine.FindStringSubmatch(text); m != nil {
			r.Method = m[1]
			r.Path, r.Query, _ = strings.Cut(pathOf(m[2]), "?")
			return
		}
		if m := flaskPath.FindStringSubmatch(text); m != nil {
			r.Method = m[2]
			r.Path, r.Query, _ = strings.Cut(m[1], "?")
			return
		}
	}
	first, _, _ := strings.Cut(texts[0][min(r.MessageOffset, len(texts[0])):], "\n")
	for _, m := range barePath.FindAllStringSubmatch(first, 4) {
		if p := strings.TrimRight(m[1], ".:"); len(p) > 1 && !looksLikeFile(p) {
			r.Path, r.Query, _ = strings.Cut(p, "?")
			return
		}
	}
}

// looksLikeFile keeps the paths of source files and system directories apart from those of requests.
func looksLikeFile(p string) bool {
	for _, dir := range [...]string{"/usr/", "/srv/", "/var/", "/home/", "/etc/", "/opt/", "/app/", "/tmp/", "/lib/", "/proc/", "/dev/", "/root/", "/bin/", "/mnt/", "/run/", "/data/"} {
		if strings.HasPrefix(p, dir) {
			return true
		}
	}
	for _, ext := range [...]string{".py", ".rb", ".go", ".java", ".js", ".ts", ".pm", ".pl", ".so", ".cs", ".rs"} {
		if strings.Contains(p, ext) && (strings.HasSuffix(p, ext) || strings.Contains(p, ext+":")) {
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

func addrOf(text string) netip.AddrPort {
	for _, m := range clientAddr.FindAllStringSubmatch(text, 4) {
		if ap, err := netip.ParseAddrPort(m[1]); err == nil {
			return ap
		}
		if a, err := netip.ParseAddr(strings.Trim(m[1], "[]")); err == nil {
			return netip.AddrPortFrom(a, 0)
		}
	}
	return netip.AddrPort{}
}

func firstGroup(re *regexp.Regexp, text string) string {
	m := re.FindStringSubmatch(text)
	for i := 1; i < len(m); i++ {
		if m[i] != "" {
			return m[i]
		}
	}
	return ""
}

func pidOf(first string) int {
	pid, _ := strconv.Atoi(firstGroup(pidText, first[:min(len(first), 200)]))
	return pid
}

func threadOf(first string) string { return firstGroup(threadText, first[:min(len(first), 300)]) }

// kindOf condenses a text to what is the same whenever the same error comes again: the exception's type and the top
// frames without line numbers and addresses. Without either it is empty.
func kindOf(text string) string {
	var kind []string
	frames := 0
	for line := range strings.SplitSeq(text, "\n") {
		if frameText.MatchString(line) {
			if frames++; frames > 3 {
				break
			}
			kind = append(kind, withoutNumbers(strings.TrimSpace(line)))
			continue
		}
		if name := typeIn(line); name != "" && len(kind) == 0 {
			kind = append(kind, name)
		}
	}
	return strings.Join(kind, "|")
}

// typeIn finds the exception's type in a line.
func typeIn(line string) string {
	for i := 0; i < len(line) && i < 2048; i++ {
		if i > 0 && !isSpace(line[i-1]) && line[i-1] != '(' {
			continue
		}
		if n := exceptionName([]byte(line[i:min(len(line), i+256)])); n > 0 {
			return line[i : i+n]
		}
	}
	return ""
}

func withoutNumbers(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		if !isDigit(s[i]) {
			out = append(out, s[i])
		}
	}
	return string(out[:min(len(out), 160)])
}
