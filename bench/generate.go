package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"
)

// A format is one way in which applications write their logs.
type format struct {
	name  string
	line  func(l logLine, b []byte) []byte
	error string // what a line of an error has, and no other
}

var formats = []format{
	{"plain", logLine.plain, " ERROR "},
	{"JSON", logLine.json, `"level":"error"`},
	{"logfmt", logLine.logfmt, "level=error"},
	{"access log", logLine.access, " ERROR "},
}

// A logLine is what any format says.
type logLine struct {
	level string // "INFO" or "ERROR"
	id    string // of the request
	at    time.Time
	n     int
}

var loggers = []string{"com.acme.shop.order.OrderService", "com.acme.shop.price.PriceRules", "com.acme.shop.stock.Warehouse", "com.acme.http.Dispatcher"}

var messages = []string{
	"the order was priced by the rules of the winter sale, and the customer's discount was taken off twice",
	"stock of the article was looked up in the second warehouse, since the first one did not answer in time",
	"the request was handed on to the next handler in the chain after its parameters had been validated",
	"the cache of the catalogue's pages was filled again, with all entries of the category of garden chairs",
}

// plain is the style of log4j and logback.
func (l logLine) plain(b []byte) []byte {
	b = l.at.AppendFormat(b, "2006-01-02 15:04:05,000 ")
	b = append(b, l.level...)
	b = append(b, "     "[len(l.level):]...)
	b = append(b, " [http-8080-exec-"...)
	b = strconv.AppendInt(b, int64(l.n%20), 10)
	b = append(b, "] ["...)
	b = append(b, l.id...)
	b = append(b, "] "...)
	b = append(b, loggers[l.n%4]...)
	b = append(b, " - "...)
	b = append(b, messages[l.n/4%4]...)
	b = append(b, ", order "...)
	b = strconv.AppendInt(b, int64(l.n), 10)
	return append(b, '\n')
}

func (l logLine) json(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = l.at.AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = append(b, `","level":"`...)
	b = append(b, l.lower()...)
	b = append(b, `","requestId":"`...)
	b = append(b, l.id...)
	b = append(b, `","logger":"`...)
	b = append(b, loggers[l.n%4]...)
	b = append(b, `","msg":"`...)
	b = append(b, messages[l.n/4%4]...)
	b = append(b, `","order":`...)
	b = strconv.AppendInt(b, int64(l.n), 10)
	return append(b, "}\n"...)
}

func (l logLine) logfmt(b []byte) []byte {
	b = append(b, "time="...)
	b = l.at.AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = append(b, " level="...)
	b = append(b, l.lower()...)
	b = append(b, " request_id="...)
	b = append(b, l.id...)
	b = append(b, ` msg="`...)
	b = append(b, messages[l.n/4%4]...)
	b = append(b, `" order=`...)
	b = strconv.AppendInt(b, int64(l.n), 10)
	return append(b, '\n')
}

// access is Apache's combined format with the request's ID at its end. Such lines are no errors, whatever the answer was: those
// stand between them in the app's own style, as where both write to one standard output.
func (l logLine) access(b []byte) []byte {
	if l.level == "ERROR" {
		return l.plain(b)
	}
	b = append(b, "10.4.1."...)
	b = strconv.AppendInt(b, int64(l.n%250), 10)
	b = append(b, " - - ["...)
	b = l.at.AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "GET /orders/`...)
	b = strconv.AppendInt(b, int64(l.n), 10)
	b = append(b, ` HTTP/1.1" 200 `...)
	b = strconv.AppendInt(b, int64(l.n%9000), 10)
	b = append(b, ` "https://shop.example.com/catalogue" "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/145.0" `...)
	b = append(b, l.id...)
	return append(b, '\n')
}

func (l logLine) lower() string {
	if l.level == "ERROR" {
		return "error"
	}
	return "info"
}

// generate writes a log of about size bytes, in which one line of every names an error of one of the requests, and says how
// many do. The last line is not one, so that the last error is known to be complete.
func generate(path string, f format, size int64, every int, ids []string) (errors int, err error) {
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	begin := time.Now().UTC()
	var line []byte
	for n, written := 1, int64(0); written < size || n%every == 1; n++ {
		l := logLine{level: "INFO", id: otherIDs[n%len(otherIDs)], at: begin.Add(time.Duration(n) * time.Microsecond), n: n}
		if n%every == 0 {
			l.level, l.id = "ERROR", ids[errors%len(ids)]
			errors++
		}
		line = f.line(l, line[:0])
		if _, err := out.Write(line); err != nil {
			return 0, err
		}
		written += int64(len(line))
	}
	return errors, out.Flush()
}

// otherIDs are of requests that the sidecar has not seen.
var otherIDs = makeIDs("1f0d8a52-3b6c-4e17-9a44-%012x", 1000)

// sentIDs are of the requests that register makes.
func sentIDs(n int) []string { return makeIDs("7c9e6679-7425-40de-944b-%012x", n) }

func makeIDs(form string, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf(form, i))
	}
	return ids
}
