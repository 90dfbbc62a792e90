package record

import "strings"

// idKeys are the names, in lower case and without separators, under which logs write an ID of a request.
var idKeys = map[string]bool{
	"requestid": true, "reqid": true, "xrequestid": true, "correlationid": true, "xcorrelationid": true, "traceid": true,
	"spanid": true, "transactionid": true, "trace": true, "uniqueid": true, "uid": true, "ecid": true, "connectionid": true,
	"tr": true, "sp": true, "rid": true, "cid": true, "traceparent": true, "sessionid": true, "sid": true, "id": true,
	"httprequestid": true, "ddtraceid": true, "ddspanid": true, "mdcrequestid": true, "requestuuid": true, "errid": true,
	"activityid": true, "operationid": true, "parentid": true, "logid": true, "tid": true, "ray": true, "cfray": true,
	"loggingtrace": true, "loggingspanid": true, "xtraceid": true, "xamzntraceid": true, "xb3traceid": true, "jobid": true,
	"session": true, "jsessionid": true, "phpsessid": true, "httpsessionid": true, "aspnetsessionid": true, "sessid": true,
	"logginggoogleapiscomtrace": true, "contextid": true, "transaction": true, "requestguid": true, "traceidentifier": true,
}

// isIDKey says whether a key names an ID. Separators and case do not count.
func isIDKey[T string | []byte](key T) bool {
	var buf [40]byte
	n := 0
	for i := range len(key) {
		c := key[i]
		if c == '_' || c == '-' || c == '.' || c == '@' || c == ' ' || c == '/' {
			continue
		}
		if n == len(buf) {
			return false
		}
		buf[n] = lowerByte(c)
		n++
	}
	return idKeys[string(buf[:n])]
}

// Words gives the words of the record that could be IDs, each with whether a key that names an ID stands before it:
// whatever is long enough to be one, the values of ID keys whatever their length, the parts of composite ones, and
// tokens with dots. Which of them are IDs is for the caller to look up. The words are parts of the record's text.
func (r *Record) Words(yield func(word string, underIDKey bool) bool) {
	for _, id := range r.IDs {
		if !yield(id, true) || !parts(id, true, yield) {
			return
		}
	}
	if r.Fields != nil {
		scanWords(string(r.Fields), false, yield)
		return
	}
	scanWords(r.Text, false, yield)
}

// shortest is the length in bytes below which a word is an ID only under an ID key. A span ID has 16, Sentry-like short
// forms 8.
const shortest = 8

// scanWords cuts text at what no ID contains, and may leave out all words but those under an ID key.
func scanWords(text string, underKeys bool, yield func(string, bool) bool) bool {
	start := -1
	key := false
	for i := 0; i <= len(text); i++ {
		if i < len(text) && inWord[text[i]] && !(text[i] == '\\') {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			word := text[start:i]
			if start > 0 && text[start-1] == '\\' && len(word) > 1 && (word[0] == 'n' || word[0] == 't' || word[0] == 'r') {
				word = word[1:] // an escaped line end
			}
			if (key || !underKeys && len(word) >= shortest) && !trimAndEmit(word, key, yield) {
				return false
			}
			key = i < len(text) && leadsToValue(text[i:]) && isIDKey(word)
		} else if i < len(text) && !afterKey[text[i]] {
			key = false
		}
		start = -1
	}
	return true
}

// leadsToValue says whether what follows a word makes it a key.
func leadsToValue(rest string) bool {
	for i := 0; i < len(rest) && i < 4; i++ {
		switch rest[i] {
		case ':', '=':
			return true
		case '"', '\'', '\\', ' ', '[':
		default:
			return false
		}
	}
	return false
}

// afterKey are the bytes that may stand between a key and its value.
var afterKey = setOf("\"' :=[({<>\\")

var inWord = func() (t [256]bool) {
	for b := range 256 {
		c := byte(b)
		t[b] = isLetter(c) || isDigit(c) || has("-_.@~+/|=", c) && c != '=' && c != '|' || c >= 0x80
	}
	return t
}()

func trimWord(w string) string {
	for len(w) > 0 && has(".-/+", w[0]) {
		w = w[1:]
	}
	for len(w) > 0 && has(".-/", w[len(w)-1]) {
		w = w[:len(w)-1]
	}
	return w
}

func trimAndEmit(word string, key bool, yield func(string, bool) bool) bool {
	trimmed := trimWord(word)
	if !emitWord(trimmed, key, yield) {
		return false
	}
	if len(word) == len(trimmed) || len(word) < 2*shortest {
		return true
	}
	whole := strings.Trim(word, "./+") // base64url and nanoids may begin and end with a hyphen
	return len(whole) <= len(trimmed) || len(whole) < 2*shortest || emitWord(whole, key, yield)
}

func emitWord(w string, key bool, yield func(string, bool) bool) bool {
	switch {
	case w == "" || len(w) > 512:
		return true
	case key:
		return yield(w, true) && parts(w, true, yield)
	case len(w) < shortest || !couldBeID(w):
		return true
	}
	return yield(w, false) && parts(w, false, yield)
}

// couldBeID keeps out words of a language: an ID has a digit, or mixes cases.
func couldBeID(w string) bool {
	lower, upper := 0, 0
	for i := range len(w) {
		switch c := w[i]; {
		case isDigit(c):
			return true
		case isLower(c):
			lower++
		case isUpper(c):
			upper++
		}
	}
	return lower > 0 && upper > 2 && len(w) >= 16
}

// parts gives the pieces of composite IDs: the trace ID inside a traceparent, "root.1." of .NET's hierarchical ones,
// name/random-000001 of chi.
func parts(w string, key bool, yield func(string, bool) bool) bool {
	if isUUID(w) {
		return true
	}
	start := 0
	if len(w) <= 16 {
		return true
	}
	for i := 0; i <= len(w); i++ {
		if i < len(w) && !partsWord[w[i]] {
			continue
		}
		if part := w[start:i]; len(part) >= 16 && len(part) < len(w) && couldBeID(part) {
			if !yield(part, key) {
				return false
			}
		}
		start = i + 1
	}
	return true
}

var partsWord = setOf("-./@|=~+")

func isUUID(w string) bool {
	if len(w) != 36 {
		return false
	}
	for i := range len(w) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (w[i] == '-') || !dash && hexValue(w[i]) < 0 {
			return false
		}
	}
	return true
}

// wordsUnderKeys gives what stands under ID keys in a text: request_id=..., reqId: ..., (request-id: ...).
func wordsUnderKeys(text string) (ids []string) {
	scanWords(text, true, func(w string, key bool) bool {
		if key && !strings.Contains(w, "/") {
			ids = append(ids, w)
		}
		return len(ids) < 16
	})
	return ids
}
