package record

import "bytes"

// A head is how a record's first line begins.
type head struct {
	stamp   stamp
	at      int // where the stamp begins
	sev     Severity
	level   bool // sev was written
	message int  // where the message begins
	shape   uint32
	form    uint32 // the shape of the stamp alone, whatever stands behind it; 0 where it does not open the line
	// strong is set where the line begins a record in whatever file it stands; else the file's other lines decide.
	strong bool
	access bool
	format string
	// wrapper is set where the level is that of a program around the app, which looks at nothing that the app writes.
	wrapper bool
	perLine bool   // every line of what the app writes gets a head of its own
	writer  string // the process and thread where each line has its own head; "" elsewhere
}

func (h *head) some() bool { return h.format != "" }

// parseHead reads a line's beginning. The zero head says that there is none.
func parseHead(b []byte) head {
	if len(b) == 0 || isSpace(b[0]) {
		return head{}
	}
	if len(b) > 1024 {
		b = b[:1024]
	}
	if h, ok := glogHead(b); ok {
		return h
	}
	if h, ok := priorityHead(b); ok {
		return h
	}
	if h, ok := logfmtHead(b); ok {
		return h
	}
	if h, ok := erlangHead(b); ok {
		return h
	}
	if h, ok := stampedHead(b); ok {
		return h
	}
	return levelHead(b)
}

// glogHead reads glog's and klog's heads: a letter glued to the date, as in E0517 10:33:01.123456.
func glogHead(b []byte) (h head, ok bool) {
	if len(b) < 14 || !has("IWEFCDN", b[0]) || run(b, 1) != 4 || b[5] != ' ' || !isDigit(b[6]) {
		return h, false
	}
	p := stampParser{b: b, i: 1}
	p.s.month, _ = p.number(2, 2)
	p.s.day, _ = p.number(2, 2)
	p.s.kind = "glog"
	if p.skipSpaces(2); !p.dateOK() || !p.clock() {
		return h, false
	}
	p.s.end = p.i
	h = head{stamp: p.s, at: 1, level: true, strong: true, format: "glog", shape: shapeOf("glog", 0, 0, true)}
	h.sev, _ = levelOf(b[:1])
	h.message = p.i
	if i := bytes.Index(b[p.i:], []byte("] ")); i >= 0 && i < 80 {
		h.message += i + 2
	}
	return h, true
}

// priorityHead reads syslog's <PRI>, with or without what RFC 3164 and 5424 let follow.
func priorityHead(b []byte) (h head, ok bool) {
	if len(b) < 4 || b[0] != '<' || !isDigit(b[1]) {
		return h, false
	}
	n, i := 0, 1
	for i < len(b) && isDigit(b[i]) && i < 4 {
		n = n*10 + int(b[i]-'0')
		i++
	}
	if i >= len(b) || b[i] != '>' || n > 191 {
		return h, false
	}
	i++
	if i+2 < len(b) && isDigit(b[i]) && b[i+1] == ' ' {
		i += 2
	}
	if h, ok = stampedHead(b[i:]); ok {
		h.at += i
		h.message += i
		h.stamp.end += i
	} else {
		h.message = i
	}
	h.sev, _ = ofSyslog(int64(n % 8))
	h.level, h.strong, h.format, h.shape = true, true, "syslog", shapeOf("pri", 0, 0, true)
	if inner, ok := messageLevel(b[min(h.message, len(b)):]); ok && n >= 8 { // a syslog daemon's default hides the app's own
		h.sev = inner
	}
	return h, true
}

// The bytes that stand around stamps and the words behind them.
var (
	leadsStamp   = setOf(" \t[(<|\",=")
	endsStamp    = setOf(" \t])>|,:;\"-'}")
	betweenWords = setOf(" \t-|,:;]>)\"'*")
	endsWord     = setOf(" \t|,;[](){}<>\"")
)

// setOf is has as a table, for what is asked of every byte.
func setOf(class string) *[256]bool {
	var set [256]bool
	for i := range len(class) {
		set[class[i]] = true
	}
	return &set
}

// stampedHead looks for a stamp at the line's start or behind what logs write before it.
func stampedHead(b []byte) (h head, ok bool) {
	prose := 0
	for i, token := 0, 0; i < len(b) && i < 100 && token < 10; token++ {
		for i < len(b) && leadsStamp[b[i]] {
			i++
		}
		if i >= len(b) {
			break
		}
		if s, ok := parseStamp(b, i); ok && (i <= 2 || s.full() || token <= 2 && opensLine(b[:i])) && followsStamp(b, s.end) {
			h = head{stamp: s, at: i, format: s.kind}
			h.read(b, token)
			return h, true
		}
		start := i
		for i < len(b) && !leadsStamp[b[i]] {
			i++
		}
		if prose += proseWord(b[start:i]); prose > 1 {
			break
		}
		if i < len(b) && b[i] == '@' {
			i++
		}
		if at := bytes.IndexByte(b[start:i], '@'); at >= 0 && start+at+1 < len(b) { // Dancer2: error @2026-...
			i = start + at + 1
			if s, ok := parseStamp(b, i); ok && s.full() {
				h = head{stamp: s, at: i, format: s.kind}
				h.read(b, token)
				return h, true
			}
			i = start + at + 1
		}
	}
	return h, false
}

// opensLine says whether what stands before a time of day leaves it the stamp of a line: brackets, a level.
func opensLine(b []byte) bool {
	for _, c := range b {
		if !isUpper(c) && !has(" []()<>|-,\t", c) {
			return false
		}
	}
	return true
}

func followsStamp(b []byte, end int) bool {
	return end >= len(b) || endsStamp[b[end]]
}

// proseWord counts a plain word of a sentence. A level is none.
func proseWord(w []byte) int {
	for _, c := range w {
		if !isLower(c) && c < 0x80 {
			return 0
		}
	}
	if _, isLevel := levelOf(w); isLevel || len(w) < 2 {
		return 0
	}
	return 1
}

// shapeOf condenses what is alike in the heads of one logger's lines.
func shapeOf(kind string, token int, before byte, level bool) uint32 {
	h := uint32(2166136261)
	for i := range len(kind) {
		h = (h ^ uint32(kind[i])) * 16777619
	}
	h = (h ^ uint32(token)) * 16777619
	h = (h ^ uint32(before)) * 16777619
	if level {
		h = (h ^ 1) * 16777619
	}
	return h
}

// read goes over the rest of the head.
func (h *head) read(b []byte, token int) {
	before := byte(0)
	if h.at > 0 && !isSpace(b[h.at-1]) {
		before = b[h.at-1]
	}
	if h.at > 0 {
		h.sev, h.level = levelBefore(b[:h.at])
	}
	sev, level, message, wrapper := levelAfter(b, h.stamp.end)
	if level && !h.level {
		h.sev, h.level = sev, true
	}
	h.message, h.wrapper = indentedMessage(b, message), wrapper
	h.access = isAccess(b)
	if h.access {
		h.format, h.level, h.sev = "access", false, 0
	}
	h.strong = h.access || h.stamp.full() && (h.level || before == '[' && h.at == 1 || h.at == 0 && h.stamp.kind == "syslog" && taggedSyslog(b[h.stamp.end:]))
	h.shape = shapeOf(h.stamp.kind, min(token, 3), before, h.level)
	if h.at == 0 && h.stamp.full() {
		h.form = shapeOf(h.stamp.kind, 1+h.stamp.digits, byte(h.stamp.end), h.stamp.zoned)
	}
	h.writer = writerOf(b[:h.message])
	h.perLine = wrapper && bytes.Contains(b[:h.message], []byte("[wsgi:"))
	if !h.level {
		if sev, ok := messageLevel(b[min(message, len(b)):]); ok {
			h.sev, h.level = sev, true
		}
	}
}

// indentedMessage gives a message the blanks back that it begins with: one belongs to the head, more are the message's.
func indentedMessage(b []byte, at int) int {
	at = min(at, len(b))
	for at > 0 && b[at-1] == ' ' {
		at--
	}
	if at < len(b) && b[at] == ' ' {
		at++
	}
	return at
}

// levelBefore finds a level in front of the stamp.
func levelBefore(b []byte) (Severity, bool) {
	if i := bytes.IndexByte(b, 'F'); i > 0 && isStream(b[:i]) {
		return 0, false
	}
	for i := 0; i < len(b); i++ {
		start := i
		for i < len(b) && isWordRune(rune(b[i])) {
			i++
		}
		w := b[start:i]
		s, ok := levelOf(w)
		switch {
		case !ok:
		case len(w) > 1 && (!isLower(w[0]) || coreLevel(w)):
			return s, true
		case len(w) == 1 && isUpper(w[0]) && (start == 0 || has(beforeLetter, b[start-1])) && i < len(b) && has(afterLetter, b[i]):
			return s, true
		}
	}
	return 0, false
}

// isStream says whether the name of a stream stands last: the F behind it is a container runtime's.
func isStream(b []byte) bool {
	b = bytes.TrimRight(b, " ")
	return bytes.HasSuffix(b, []byte("stdout")) || bytes.HasSuffix(b, []byte("stderr"))
}

func isWordRune(r rune) bool { return r >= 0x80 || isLetter(byte(r)) || isDigit(byte(r)) }

// coreLevel names the words that are levels also in lower case and without brackets.
func coreLevel(w []byte) bool {
	switch string(bytes.ToLower(w)) {
	case "error", "warn", "warning", "info", "debug", "fatal", "critical", "notice", "trace", "crit", "err", "emerg", "alert", "severe", "panic":
		return true
	}
	return false
}

// levelAfter finds the level behind the stamp, and where the message begins.
func levelAfter(b []byte, i int) (sev Severity, ok bool, message int, wrapper bool) {
	words := 0
	for i < len(b) && words < 5 {
		for i < len(b) && betweenWords[b[i]] {
			i++
		}
		if i >= len(b) {
			break
		}
		start := i
		if c := b[i]; c == '[' || c == '(' || c == '<' || c == '{' {
			inside, end := bracketed(b, i)
			if end < 0 {
				break
			}
			if s, isLevel, wraps := levelInside(inside); isLevel && !ok {
				sev, ok, wrapper = s, true, wraps
			}
			i = end
			continue
		}
		for i < len(b) && !endsWord[b[i]] {
			i++
		}
		if i < len(b) && b[i] == '[' && i > start && !ok { // syslog's tag: app[1]:
			if n := run(b, i+1); n > 0 && bytes.HasPrefix(b[i+1+n:], []byte("]:")) {
				i += n + 3
				s, isLevel := messageLevel(b[i:])
				return s, isLevel, i, false
			}
		}
		if i == start {
			i++
			continue
		}
		if ok { // brackets may follow a level; the first word begins the message
			return sev, true, start, wrapper
		}
		if words == 0 {
			if s, isPhrase := phraseAt(b[start:]); isPhrase {
				return s, true, start, false
			}
		}
		word := b[start:i]
		next := byte('\n')
		if i < len(b) {
			next = b[i]
		}
		if s, isLevel := levelWord(word, words, next); isLevel && !isStream(b[:start]) && (len(word) > 1 || has(beforeLetter, b[start-1])) {
			sev, ok = s, true
			continue
		}
		if word[len(word)-1] == ':' && len(word) > 2 { // a tag, as syslog's app[1]: or a logger's name
			if s, isLevel := messageLevel(bytes.TrimLeft(b[i:], " ")); isLevel {
				return s, true, i, false
			}
			return 0, false, i, false
		}
		if numeric(word) {
			continue
		}
		if words++; words > 1 && proseWord(word) > 0 || words == 1 && proseWord(word) > 0 && !nextIsLevel(b[i:]) {
			return 0, false, start, false
		}
	}
	return sev, ok, min(i, len(b)), wrapper
}

// nextIsLevel lets a plain name, a thread's or a host's, stand before the level.
func nextIsLevel(rest []byte) bool {
	words := bytes.Fields(rest[:min(len(rest), 80)])
	for i, w := range words {
		if i > 2 {
			break
		}
		w = bytes.Trim(w, "[]():,|<>-")
		if s, ok := levelOf(w); ok && s != 0 && len(w) > 2 && allUpper(w) {
			return true
		}
	}
	return len(words) > 0 && (words[0][0] == '[' || words[0][len(words[0])-1] == ':')
}

func numeric(w []byte) bool {
	for _, c := range w {
		if !isDigit(c) && hexValue(c) < 0 && !has("#.-+:/*", c) {
			return false
		}
	}
	return true
}

// bracketed gives what stands in the brackets that open at b[i], and the place behind them.
func bracketed(b []byte, i int) ([]byte, int) {
	closing := b[i] + 2 // ] of [, } of {, > of <
	if b[i] == '(' {
		closing = ')'
	}
	depth := 0
	for j := i; j < len(b) && j < i+300; j++ {
		switch b[j] {
		case b[i]:
			depth++
		case closing:
			if depth--; depth == 0 {
				return b[i+1 : j], j + 1
			}
		}
	}
	return nil, -1
}

// levelInside reads a level out of brackets: "ERROR", "php:error", "ns#error", " error ".
func levelInside(b []byte) (sev Severity, ok, wrapper bool) {
	b = bytes.TrimSpace(b)
	if s, ok := levelOf(b); ok && (len(b) > 1 || isUpper(b[0])) {
		return s, true, false
	}
	if i := bytes.LastIndexAny(b, ":#."); i > 0 && i+2 < len(b) {
		module := string(b[:i])
		if s, ok := levelOf(b[i+1:]); ok {
			return s, true, s == Notice && len(module) > 2 && module[:3] == "php" || module == "wsgi" || module == "cgi" || module == "cgid" || module == "proxy_fcgi"
		}
	}
	return 0, false, false
}

// levelWord says whether a word behind the stamp is the level. In lower case it must stand where a level does.
func levelWord(w []byte, before int, next byte) (Severity, bool) {
	colon := w[len(w)-1] == ':'
	w = bytes.TrimRight(w, ":")
	if i := bytes.LastIndexByte(w, '.'); i > 0 && i+2 < len(w) && colon { // Monolog: production.ERROR
		if s, ok := levelOf(w[i+1:]); ok && allUpper(w[i+1:]) {
			return s, true
		}
	}
	if i := bytes.IndexByte(w, ':'); i > 1 && allUpper(w[:i]) { // Jetty: :WARN:oejs.Server:, Python's ERROR:root:
		w = w[:i]
	}
	if i := bytes.IndexByte(w, '/'); i == 1 { // logcat's short form: E/Tag
		w = w[:1]
	}
	if i := bytes.IndexByte(w, '='); i > 0 && hasFold(w, 0, "level") {
		w = bytes.Trim(w[i+1:], `"`)
		return levelOf(w)
	}
	s, ok := levelOf(w)
	switch {
	case !ok:
		return 0, false
	case len(w) == 1:
		if w[0] == 'A' { // WebSphere's audit
			s = Notice
		}
		return s, isUpper(w[0]) && before <= 1 && (next == ' ' || next == '\t' || next == '|')
	case allUpper(w):
		return s, true
	case before > 0:
		return s, colon && before == 1 && coreLevel(w)
	case coreLevel(w):
		return s, true
	}
	return s, colon || next == '\t' || next == '|'
}

func allUpper(w []byte) bool {
	for _, c := range w {
		if isLower(c) {
			return false
		}
	}
	return len(w) > 0
}

// isAccess says whether a line tells of a request and its status: "GET /path HTTP/1.1" 500.
func isAccess(b []byte) bool {
	for i := 0; i < len(b); {
		at := bytes.Index(b[i:], []byte(" HTTP/"))
		if at < 0 {
			return false
		}
		i += at + 6
		j := i
		for j < len(b) && (isDigit(b[j]) || b[j] == '.') {
			j++
		}
		if j+5 <= len(b) && b[j] == '"' && b[j+1] == ' ' && isDigit(b[j+2]) && isDigit(b[j+3]) && isDigit(b[j+4]) {
			return true
		}
	}
	return false
}

// taggedSyslog wants host and tag behind syslog's stamp.
func taggedSyslog(b []byte) bool {
	words := bytes.Fields(b[:min(len(b), 120)])
	return len(words) > 1 && words[1][len(words[1])-1] == ':'
}

// erlangHead reads the headings of Erlang's reports: =ERROR REPORT==== 23-Nov-2026::22:43:39 ===
func erlangHead(b []byte) (h head, ok bool) {
	if b[0] != '=' || !bytes.Contains(b[:min(len(b), 40)], []byte(" REPORT====")) {
		return h, false
	}
	h = head{strong: true, format: "erlang", shape: shapeOf("erlang", 0, 0, true), message: len(b)}
	name := b[1:bytes.IndexByte(b, ' ')]
	if h.sev, h.level = levelOf(name); len(name) == 1 {
		h.sev, h.level = 0, false
	} else if string(name) == "CRASH" || string(name) == "SUPERVISOR" {
		h.sev, h.level = Critical, true
	}
	if i := bytes.LastIndex(b, []byte("==== ")); i > 0 {
		h.stamp, _ = parseStamp(b, i+5)
	}
	return h, true
}

// levelHead reads heads without a stamp that begin with a level: ".NET's fail:", "[ERROR] ...", "ERROR - ...".
func levelHead(b []byte) (h head) {
	end := 0
	for end < len(b) && (isLetter(b[end]) || b[end] >= 0x80) {
		end++
	}
	if end == 4 && b[end:] != nil && len(b) > 4 && b[4] == ':' && allLower(b[:4]) { // .NET console: fail: Category[0]
		if s, ok := levelOf(b[:4]); ok {
			return head{sev: s, level: true, format: "dotnet", shape: shapeOf("dotnet", 0, 0, true), message: 5}
		}
	}
	if end == 4 && len(b) > 6 && b[4] == '[' && run(b, 5) >= 1 { // logrus on a terminal: ERRO[0012]
		if s, ok := levelOf(b[:4]); ok {
			return head{sev: s, level: true, strong: true, format: "logrus", shape: shapeOf("logrus", 0, 0, true), message: bytes.IndexByte(b, ']') + 1}
		}
	}
	if s, ok := messageLevel(b); ok {
		first := byte('a')
		if !isLetter(b[0]) {
			first = b[0]
		}
		return head{sev: s, level: true, format: "level", shape: shapeOf("level", 0, first, true)}
	}
	return h
}

func allLower(w []byte) bool {
	for _, c := range w {
		if !isLower(c) {
			return false
		}
	}
	return true
}

// writerOf names the process and thread of heads that stand on every line: mod_wsgi's [pid 1:tid 2], syslog's app[1]:.
func writerOf(b []byte) string {
	if i := bytes.Index(b, []byte("[pid ")); i >= 0 {
		if in, end := bracketed(b, i); end > 0 {
			return string(in)
		}
	}
	b = bytes.TrimRight(b, " ")
	if n := len(b); n > 3 && b[n-1] == ':' && b[n-2] == ']' {
		if i := bytes.LastIndexByte(b, ' '); i >= 0 {
			return string(b[i+1 : n-1])
		}
	}
	return ""
}
