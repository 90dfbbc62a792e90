package record

import (
	"bytes"
	"net/netip"
	"strconv"
	"time"
)

// object is what the members of a JSON record or a logfmt line say, by the key names of the popular loggers.
type object struct {
	level, time, message, stack value
	levelKey                    string // the key that level stood under, in lower case
	levelRank, messageRank      int
	timeRank                    int

	seconds, nanos       int64 // log4j2's instant, Google's timestamp
	errType, errMsg      value
	method, path, status value
	client, port         value
	thread, pid, logger  value
	ids                  []value
	hasReq               bool
	hints                hint
	deep                 int
}

// hint is a companion key that tells the number scales apart.
type hint uint16

const (
	hintGELF hint = 1 << iota
	hintBunyan
	hintNextcloud
	hintPython
	hintMonolog
	hintJUL
	hintMongo
	hintErr
	hintLoguru
)

// parseObject reads a JSON object. ok is false where b is not one whole object.
func parseObject(b []byte) (o object, end int) {
	end = walkObject(b, func(key []byte, v value) { o.member("", key, v) })
	return o, end
}

// member takes one member. parent is the name of the object that it stands in, of the ones that matter.
func (o *object) member(parent string, key []byte, v value) {
	var lower [40]byte
	if len(key) > len(lower) {
		return
	}
	for i, c := range key {
		lower[i] = lowerByte(c)
	}
	k := lower[:len(key)]
	if isIDKey(k) && v.kind != '{' && v.kind != '[' && v.some() {
		o.ids = append(o.ids, v)
	}
	switch parent {
	case "":
		o.top(k, v)
	case "req":
		o.request(k, v)
	case "err":
		o.fault(k, v)
	case "res":
		if string(k) == "statuscode" || string(k) == "status" || string(k) == "status_code" {
			o.status = v
		}
	case "instant":
		o.instant(k, v)
	case "log":
		o.logged(k, v)
	}
}

func (o *object) descend(parent string, v value) {
	if v.kind != '{' || o.deep >= maxDepth {
		return
	}
	o.deep++
	walkObject(v.raw, func(key []byte, v value) { o.member(parent, key, v) })
	o.deep--
}

func (o *object) setLevel(rank int, key string, v value) {
	if (v.kind == '"' || v.kind == '0') && len(v.raw) > 0 && rank > o.levelRank {
		o.level, o.levelKey, o.levelRank = v, key, rank
	}
}

func (o *object) setMessage(rank int, v value) {
	if (v.kind == '"' && len(v.raw) > 0 || v.kind == '{') && rank > o.messageRank {
		o.message, o.messageRank = v, rank
	}
}

func (o *object) setTime(rank int, v value) {
	if rank > o.timeRank && v.some() {
		o.time, o.timeRank = v, rank
	}
}

// top reads the members of the object itself.
func (o *object) top(k []byte, v value) {
	switch string(k) {
	case "level_name", "levelname":
		o.setLevel(9, string(k), v)
		o.hints |= hintMonolog
	case "severity", "severitytext", "severity_text", "loglevel", "log_level", "log.level", "@level", "lvl", "@l", "levelstr":
		o.setLevel(7, string(k), v)
	case "level":
		if o.setLevel(8, "level", v); v.kind == '{' {
			o.descend("log", v)
		}
	case "level_value", "severitynumber", "severity_number", "levelno", "priority":
		if o.setLevel(4, string(k), v); string(k) == "levelno" {
			o.hints |= hintPython
		}
	case "status":
		if v.kind == '"' {
			if _, isLevel := levelOf(v.raw); isLevel {
				o.setLevel(2, "status", v)
				break
			}
		}
		o.status = v
	case "s": // mongod
		if len(v.raw) > 0 && len(v.raw) <= 2 && isUpper(v.raw[0]) {
			o.setLevel(1, "s", v)
		}
	case "statuscode", "status_code", "http.status_code", "http.response.status_code", "responsestatuscode":
		o.status = v
	case "message", "msg", "@message", "renderedmessage", "@m", "short_message", "textpayload", "eventmessage":
		o.setMessage(8, v)
		if string(k) == "short_message" {
			o.hints |= hintGELF
		}
	case "full_message":
		o.stack, o.hints = v, o.hints|hintGELF
	case "event", "log", "body", "text", "@mt", "messagetemplate", "error_message", "description":
		if o.setMessage(4, v); v.kind == '{' && string(k) != "body" {
			o.descend("log", v)
		}
	case "fields", "record", "attributes", "data", "extra", "context", "contextmap", "mdc", "meta", "properties", "jsonpayload", "ctx", "labels", "winston":
		o.descend("log", v)
	case "timestamp", "time", "ts", "@timestamp", "@t", "t", "datetime", "asctime", "date", "timestampz", "eventtime", "_timestamp", "timemillis",
		"timeunixnano", "timestamp_ns", "__realtime_timestamp":
		if v.kind == '{' {
			o.descend("instant", v)
		} else if o.setTime(5, v); string(k) == "asctime" {
			o.hints |= hintPython
		}
	case "instant":
		o.descend("instant", v)
	case "epochsecond", "timestampseconds":
		o.instant([]byte("epochsecond"), v)
	case "stack", "stacktrace", "stack_trace", "exc_info", "exc_text", "exception", "@x", "backtrace", "trace", "traceback", "error.stack_trace",
		"error.stack", "exception.stacktrace", "err.stack", "errorverbose", "exceptions":
		o.trace(v)
	case "err", "error", "thrown", "throwable", "cause":
		o.hints |= hintErr
		if v.kind == '"' {
			o.errMsg = v
		}
		o.descend("err", v)
	case "err.message", "error.message", "exception.message":
		o.errMsg = v
	case "err.type", "error.type", "exception.type", "exception_class":
		o.errType = v
	case "req", "request", "http", "httprequest", "http_request":
		o.hasReq = true
		o.descend("req", v)
	case "res", "response":
		o.descend("res", v)
	case "v":
		o.hints |= hintBunyan
	case "version", "host", "_id":
		if string(k) == "version" && string(v.raw) == "1.1" {
			o.hints |= hintGELF
		}
	case "reqid":
		o.hints |= hintNextcloud
	case "lineno", "funcname", "pathname":
		o.hints |= hintPython
	case "sourceclassname", "loggerclassname", "sourcemethodname":
		o.hints |= hintJUL
	case "c":
		o.hints |= hintMongo
	case "method", "http.method", "request_method", "http.request.method":
		o.method = v
	case "path", "url", "uri", "http.url", "http.target", "url.path", "request_path", "requestpath", "request_uri", "requesturi", "url.original":
		o.path = v
	case "thread", "threadname", "thread_name", "threadid", "process.thread.name", "tid", "thread.name":
		o.thread = v
	case "pid", "process", "process_id", "processid", "process.pid":
		o.pid = v
	case "logger", "logger_name", "loggername", "name", "log.logger", "category", "@module", "sourcecontext":
		o.logger = v
	case "remote_addr", "remoteaddr", "remoteaddress", "remote_ip", "clientip", "client_ip", "client", "peer", "remote":
		o.client = v
	case "remote_port", "remoteport", "client_port":
		o.port = v
	}
}

// logged reads the members of objects that hold what others have at the top.
func (o *object) logged(k []byte, v value) {
	switch string(k) {
	case "level", "severity":
		if o.setLevel(6, "level", v); v.kind == '{' {
			o.descend("log", v)
		}
	case "name": // loguru's record.level.name
		if _, isLevel := levelOf(v.raw); isLevel {
			o.setLevel(5, "name", v)
		}
	case "message", "msg":
		o.setMessage(3, v)
	case "time", "timestamp":
		if v.kind == '{' {
			o.descend("log", v)
		} else {
			o.setTime(3, v)
		}
	case "stringvalue":
		o.setMessage(3, v)
	case "exception", "err", "error", "stack", "trace":
		if v.kind == '{' {
			o.descend("err", v)
		} else if v.kind == '"' {
			o.trace(v)
		}
	case "req", "request":
		o.descend("req", v)
	case "res", "response":
		o.descend("res", v)
	case "method", "path", "url", "uri", "thread", "pid", "statuscode":
		o.top(k, v)
	}
}

func (o *object) fault(k []byte, v value) {
	switch string(k) {
	case "stack", "stack_trace", "stacktrace", "extendedstacktrace", "trace", "backtrace", "traceback":
		o.trace(v)
	case "message", "msg", "localizedmessage":
		o.errMsg = v
	case "type", "name", "class", "kind", "exception":
		o.errType = v
	}
}

func (o *object) trace(v value) {
	switch {
	case v.kind == '{':
		o.descend("err", v)
	case v.kind == '[':
		if bytes.HasPrefix(bytes.TrimLeft(v.raw[1:], " \n\t"), []byte("{")) { // a list of frames: structlog's dict_tracebacks
			break
		}
		fallthrough
	case v.kind == '"' && len(v.raw) > len(o.stack.raw):
		o.stack = v
	}
}

func (o *object) request(k []byte, v value) {
	switch string(k) {
	case "method", "requestmethod":
		o.method = v
	case "url", "uri", "path", "requesturl", "originalurl", "requesturi":
		o.path = v
	case "remoteaddress", "remote_addr", "remote_ip", "remoteip", "ip":
		o.client = v
	case "remoteport", "remote_port":
		o.port = v
	case "status", "statuscode", "status_code":
		o.status = v
	case "request", "response", "headers":
		o.descend("req", v)
	case "connection", "socket":
		o.descend("req", v)
	}
}

func (o *object) instant(k []byte, v value) {
	n, ok := v.int()
	if !ok {
		if string(k) == "$date" {
			o.setTime(5, v)
		}
		return
	}
	switch string(k) {
	case "epochsecond", "seconds":
		o.seconds = n
	case "nanoofsecond", "nanos":
		o.nanos = n
	case "$date":
		o.setTime(5, v)
	}
}

// severity reads the level, a word or a number of one of the many scales.
func (o *object) severity() (Severity, bool) {
	if o.level.kind == 0 {
		return 0, false
	}
	if n, ok := o.level.int(); ok {
		return o.numeric(n)
	}
	word := bytes.TrimSpace(stripColour(unescape(o.level.raw)))
	if o.levelKey == "s" && (o.hints&hintMongo == 0 || len(word) > 2) {
		return 0, false
	}
	return levelOf(word)
}

func (o *object) numeric(n int64) (Severity, bool) {
	switch {
	case o.levelKey == "priority":
		return ofSyslog(n)
	case o.levelKey == "severitynumber" || o.levelKey == "severity_number":
		return ofOpenTelemetry(n)
	case n < 0:
		return Debug, true
	case o.hints&hintNextcloud != 0 && n <= 4:
		return [...]Severity{Debug, Info, Warning, Error, Critical}[n], true
	case n <= 7:
		return ofSyslog(n)
	case n == 8:
		return Error, true // slog
	case o.levelKey == "severity" && n >= 100:
		return Severity(min(n, 800) / 100 * 100), true
	case n < 10:
		return 0, false
	case n >= 100 && n < 1000 && o.hints&hintJUL != 0:
		return ofJUL(n), true
	case n <= 60 && (o.hints&hintPython != 0 || o.levelKey == "levelno"):
		return byStep(n, 10, Debug, Info, Warning, Error, Critical, Critical)
	case n <= 60:
		return byStep(n, 10, Debug, Debug, Info, Warning, Error, Critical)
	case n >= 100 && n <= 600:
		return ofMonolog(n), true
	case n >= 700 && n <= 1000:
		return ofJUL(n), true
	case n >= 5000 && n <= 50000:
		return byStep(max(n, 10000), 10000, Debug, Info, Warning, Error, Critical)
	}
	return 0, false
}

func byStep(n, step int64, levels ...Severity) (Severity, bool) {
	i := n/step - 1
	if i < 0 || i >= int64(len(levels)) {
		return 0, false
	}
	return levels[i], true
}

func ofMonolog(n int64) Severity {
	switch {
	case n >= 600:
		return Emergency
	case n >= 550:
		return Alert
	case n >= 500:
		return Critical
	case n >= 400:
		return Error
	case n >= 300:
		return Warning
	case n >= 250:
		return Notice
	case n >= 200:
		return Info
	}
	return Debug
}

func ofJUL(n int64) Severity {
	switch {
	case n >= 1000:
		return Error
	case n >= 900:
		return Warning
	case n >= 800:
		return Info
	}
	return Debug
}

// when gives the record's time. Numbers tell their unit by their size.
func (o *object) when(near time.Time, offset int) (t time.Time, zoned bool) {
	if o.seconds != 0 {
		return time.Unix(o.seconds, o.nanos).UTC(), true
	}
	if !o.time.some() {
		return time.Time{}, false
	}
	if n, err := strconv.ParseFloat(string(o.time.raw), 64); err == nil && n > 1e8 {
		return ofEpoch(o.time.raw, n), true
	}
	text := unescape(o.time.raw)
	if s, ok := parseStamp(text, 0); ok {
		return s.time(near, offset), s.zoned
	}
	return time.Time{}, false
}

func ofEpoch(raw []byte, n float64) time.Time {
	unit := 1.0
	for n >= 1e11 {
		n /= 1000
		unit *= 1000
	}
	if i, err := strconv.ParseInt(string(raw), 10, 64); err == nil && unit > 1 {
		return time.Unix(0, i*int64(1e9/unit)).UTC()
	}
	sec := int64(n)
	return time.Unix(sec, int64((n-float64(sec))*1e9)).Round(time.Microsecond).UTC()
}

// text is what a person wants to read: the message with the stack trace.
func (o *object) text(line []byte) string {
	message := o.message.text()
	if o.message.kind == '{' || message == "" {
		message = o.errMsg.text()
	}
	stack := o.stackText()
	switch {
	case message == "" && stack == "":
		return string(line)
	case stack == "":
		if e := o.errMsg.text(); e != "" && !bytes.Contains([]byte(message), []byte(e)) && o.errMsg.kind == '"' {
			return message + ": " + e
		}
		return message
	case message == "" || bytes.HasPrefix([]byte(stack), []byte(message)):
		return stack
	}
	return message + "\n" + stack
}

func (o *object) stackText() string {
	if o.stack.kind != '[' {
		return o.stack.text()
	}
	var lines []byte
	for i := 1; i < len(o.stack.raw); {
		if i = skipWhite(o.stack.raw, i); i >= len(o.stack.raw) || o.stack.raw[i] != '"' {
			i++
			continue
		}
		v, end := valueAt(o.stack.raw, i)
		if end < 0 {
			break
		}
		if len(lines) > 0 {
			lines = append(lines, '\n')
		}
		lines = append(lines, unescape(v.raw)...)
		i = end
	}
	return string(lines)
}

// isAccess says whether the object tells of a request that was served, and of nothing else. It is no error by itself.
func (o *object) isAccess() bool {
	return string(o.logger.raw) == "http.log.access" || bytes.HasPrefix(o.logger.raw, []byte("http.log.access.")) ||
		string(o.message.raw) == "request completed" && o.stack.kind == 0 && o.hints&hintErr == 0
}

func (o *object) addr() netip.AddrPort {
	if ap, err := netip.ParseAddrPort(string(o.client.raw)); err == nil {
		return ap
	}
	addr, err := netip.ParseAddr(string(o.client.raw))
	if err != nil {
		return netip.AddrPort{}
	}
	port, _ := o.port.int()
	return netip.AddrPortFrom(addr, uint16(port))
}
