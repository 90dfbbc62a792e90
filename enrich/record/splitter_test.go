package record

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// reader feeds a Splitter as a tailer does.
type reader struct {
	*Splitter
	at      int64
	now     time.Time
	records []*Record
}

func newReader(options Options) *reader {
	return &reader{Splitter: New(options, nil), now: time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)}
}

func (r *reader) read(log string) {
	r.Feed(r.at, []byte(log), r.now, func(rec *Record) { r.records = append(r.records, rec) })
	r.at += int64(len(log))
}

func (r *reader) silence() { r.Flush(func(rec *Record) { r.records = append(r.records, rec) }) }

func (r *reader) texts() (texts []string) {
	for _, rec := range r.records {
		texts = append(texts, rec.Text)
	}
	return texts
}

func TestARecordIsOpenUntilTheNextOne(t *testing.T) {
	r := newReader(Options{Min: Error})
	r.read("2026-11-23 22:00:00.000 INFO  [main] shop - open\n")
	r.read("2026-11-23 22:00:00.100 ERROR [main] shop - order 17 failed\n")
	if at, ok := r.Open(); !ok || at != 49 {
		t.Errorf("Open() = %d, %v, want 49", at, ok)
	}
	if len(r.records) != 0 {
		t.Errorf("given out before it is closed: %q", r.texts())
	}
	r.read("java.io.IOException: reset\n")
	r.read("2026-11-23 22:00:00.200 INFO  [main] shop - goes on\n")
	if len(r.records) != 1 || !strings.HasSuffix(r.records[0].Text, "reset") {
		t.Errorf("records %q", r.texts())
	}
	if at, ok := r.Open(); !ok || at != r.at-52 {
		t.Errorf("Open() = %d, %v, want %d: the last line may still go on", at, ok, r.at-52)
	}
}

func TestWhatComesAfterSilence(t *testing.T) {
	r := newReader(Options{Min: Error})
	r.read("2026-11-23 22:00:00.000 ERROR [main] shop - order 17 failed\n")
	r.silence()
	if _, ok := r.Open(); ok || len(r.records) != 1 {
		t.Errorf("after Flush: open %v, %d records", ok, len(r.records))
	}
	r.read("java.io.IOException: reset\n\tat com.acme.Shop.close(Shop.java:13)\n")
	if len(r.records) != 1 || r.Continued() != 2 {
		t.Errorf("a late frame: %d records, continued %d", len(r.records), r.Continued())
	}
	r.read("2026-11-23 22:00:01.000 ERROR [main] shop - order 18 failed\n")
	r.silence()
	if len(r.records) != 2 {
		t.Errorf("the record after it: %q", r.texts())
	}
}

// A message without a level is of no interest when it is closed; a trace that comes late must not vanish with it.
func TestALateTraceOfAClosedMessage(t *testing.T) {
	r := newReader(Options{Min: Error})
	r.read("order 17 is not there\n")
	r.silence()
	r.read("Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\nValueError: x\n")
	r.silence()
	if len(r.records) != 1 || r.records[0].Severity != Error {
		t.Errorf("records %q", r.texts())
	}
}

func TestALineWithoutEndIsKeptWithinBounds(t *testing.T) {
	r := newReader(Options{Min: Error})
	r.read("2026-11-23 22:00:00.000 ERROR [main] shop - ")
	part := strings.Repeat("all work and no play ", 50_000)
	for range 20 {
		r.read(part)
	}
	r.read("the end\n2026-11-23 22:00:01.000 ERROR [main] shop - order 18 failed\n")
	r.silence()
	if len(r.records) != 2 {
		t.Fatalf("%d records, want the long one and the one behind it", len(r.records))
	}
	text := r.records[0].Text
	if len(text) > MaxText+1000 || !strings.HasSuffix(text, "the end") || !strings.Contains(text, "bytes cut") {
		t.Errorf("%d bytes, ends in %q", len(text), text[len(text)-20:])
	}
	if want := int64(44 + 20*len(part) + 7); r.records[0].Length != want {
		t.Errorf("length %d, want %d", r.records[0].Length, want)
	}
}

func TestEvidence(t *testing.T) {
	addr := netip.MustParseAddrPort
	tests := []struct {
		name, log string
		want      Record
	}{
		{"nginx", `2026/11/23 23:00:48 [error] 4808#4808: *3 upstream timed out while reading response header from upstream, client: 10.0.3.9, server: shop.example, request: "GET /customers/32?tab=1 HTTP/1.1", host: "x"`,
			Record{Severity: Error, Format: "slash", PID: 4808, Method: "GET", Path: "/customers/32", Query: "tab=1", Client: addr("10.0.3.9:0")}},
		{"Apache", `[Mon Nov 23 22:31:30.382706 2026] [php:error] [pid 12233:tid 7] [client 10.0.3.9:48664] PHP Fatal error:  Uncaught LogicException: closed in /srv/a.php:8`,
			Record{Severity: Error, Format: "apache", PID: 12233, Thread: "7", Kind: "LogicException", Client: addr("10.0.3.9:48664")}},
		{"Go's net/http", "2026/11/23 22:56:52 http: panic serving 10.0.3.9:41506: closed\ngoroutine 21 [running]:\nmain.work()\n\t/srv/main.go:7 +0x1d\n",
			Record{Severity: Error, Format: "slash", Kind: "/srv/main.go: +xd", Site: ":7|", Client: addr("10.0.3.9:41506")}},
		{"Spring Boot", "2026-11-23T22:29:22.798Z ERROR 14817 --- [   scheduling-1] com.acme.Shop : sync failed\njava.io.IOException: reset\n\tat com.acme.Shop.sync(Shop.java:68)\n\tat java.lang.Thread.run(Thread.java:840)\n",
			Record{Severity: Error, Format: "iso", ZoneGiven: true, PID: 14817, Thread: "scheduling-1", Kind: "java.io.IOException|at com.acme.Shop.sync(Shop.java:)|at java.lang.Thread.run(Thread.java:)", Site: ":68|:840|"}},
		{"Rails", "F, [2026-11-23T22:47:58.459962 #23362] FATAL -- : [1111-22222] RuntimeError (closed):",
			Record{Severity: Critical, Format: "iso", PID: 23362, Kind: "RuntimeError"}},
		{"Flask", "[2026-11-23 22:42:54,521] ERROR in app: Exception on /orders/3 [POST]",
			Record{Severity: Error, Format: "iso", Method: "POST", Path: "/orders/3"}},
		{"Jetty", "2026-11-23 23:07:09.056:SEVERE:oejs.HttpChannel:qtp1637070917-12: /orders/3",
			Record{Severity: Error, Format: "iso", Thread: "qtp1637070917-12", Path: "/orders/3"}},
		{"pino", `{"level":50,"time":1795474289396,"pid":29203,"hostname":"vm","reqId":"req-2","req":{"method":"GET","url":"/orders/3?x=1","remoteAddress":"10.0.3.9","remotePort":40196},"res":{"statusCode":500},"msg":"failed"}`,
			Record{Severity: Error, Format: "json", ZoneGiven: true, PID: 29203, Method: "GET", Path: "/orders/3", Query: "x=1", Client: addr("10.0.3.9:40196"), Status: 500, IDs: []string{"req-2"}}},
		{"logrus", `time="2026-11-23T22:56:57Z" level=error msg="closed" path=/orders/3 req_id=1111-22222 status=502`,
			Record{Severity: Error, Format: "logfmt", ZoneGiven: true, Path: "/orders/3", Status: 502, IDs: []string{"1111-22222"}}},
		{"an ID in a text", "2026-11-23 22:29:38.465 ERROR [http-1] shop - failed (request-id: ab12, trace_id=5f0e)",
			Record{Severity: Error, Format: "iso", Thread: "http-1", IDs: []string{"ab12", "5f0e"}}},
	}
	for _, log := range []struct{ text, client string }{ // a connection's own address may stand anywhere
		{`E, [2026-11-23T22:47:58.459962 #23362] ERROR -- : order failed for ::ffff:127.33.4.5`, "127.33.4.5:0"},
		{`2026-11-23 22:29:38.465 ERROR [http-1] shop - failed, caller=127.33.4.5:41000, again 127.33.4.5.`, "127.33.4.5:0"},
		{`{"level":"error","msg":"failed","caller_ip":"127.33.4.5"}`, "127.33.4.5:0"},
		{`[Mon Nov 23 22:31:30.382706 2026] [php:error] [pid 1:tid 7] [client 127.33.4.5:48664] /?from=127.9.9.9`, "127.33.4.5:48664"},
		{`{"level":"error","msg":"failed","host":"127.33.4.5:80","remoteAddress":"127.0.0.1","remotePort":40196}`, "127.0.0.1:40196"},
		{`2026-11-23 22:29:38.465 ERROR [http-1] shop - 127.33.4.5 sent 127.9.9.9`, ""}, // which is whose?
		{`2026-11-23 22:29:38.465 ERROR [http-1] shop - 127.0.0.1, 127.0.1.1, 10.127.3.4, v1.127.33.4.5, 127.300.1.1`, ""},
	} {
		want, _ := netip.ParseAddrPort(log.client)
		if records := cut(Options{Min: Error}, log.text); len(records) != 1 || records[0].Client != want {
			t.Errorf("%s: %+v, want the client %q", log.text, records, log.client)
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			records := cut(Options{Min: Error}, test.log)
			if len(records) != 1 {
				t.Fatalf("%d records", len(records))
			}
			ignore := cmpopts.IgnoreFields(Record{}, "Length", "Text", "Time", "Fields")
			if diff := cmp.Diff(test.want, *records[0], ignore, cmpopts.IgnoreUnexported(Record{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWords(t *testing.T) {
	tests := []struct {
		text string
		want string // words that can be IDs; those under an ID key with a star
	}{
		{"[7cae12ab-5b3b-473a-b1db-d9d1c9e5d9bf] order failed", "7cae12ab-5b3b-473a-b1db-d9d1c9e5d9bf"},
		{"request_id=17 user=alice", "17*"},
		{`{"reqId":"req-2","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`,
			"req-2* 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01* 4bf92f3577b34da6a3ce929d0e0e4736* 00f067aa0ba902b7*"},
		{"token jw4wdfpgqhoj.3az.lrraavgc.ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4s", "jw4wdfpgqhoj.3az.lrraavgc.ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4s ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4s"},
		{"web1/awmShyMYYv12345678-000001", "web1/awmShyMYYv12345678-000001 awmShyMYYv12345678"},
		{"session -V1StGXR8_Z5jdHi6B-myT- is over -", "V1StGXR8_Z5jdHi6B-myT V1StGXR8_Z5jdHi6B -V1StGXR8_Z5jdHi6B-myT- V1StGXR8_Z5jdHi6B"}, // base64url may begin and end so
		{"nothing here looks like one", ""},
	}
	for _, test := range tests {
		var got []string
		r := &Record{Text: test.text}
		for word, keyed := range r.Words {
			if keyed {
				word += "*"
			}
			got = append(got, word)
		}
		if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.text, diff)
		}
	}
}

func TestTimes(t *testing.T) {
	tests := []struct{ stamp, want string }{ // read at 22:47:58.5 UTC on 23 November 2026
		{"2026-11-23T22:47:58.459962+01:00", "21:47:58.459962"},
		{"2026-11-23 22:47:58,459", "22:47:58.459"},
		{"2026-11-23T22:47:58Z", "22:47:58"},
		{"2026/11/23 22:47:58", "22:47:58"},
		{"26/11/23 22:47:58", "22:47:58"},
		{"261123 22:47:58", "22:47:58"},
		{"20261123 22:47:58.459", "22:47:58.459"},
		{"23-Nov-2026 22:47:58.459", "22:47:58.459"},
		{"[23/Nov/2026:22:47:58 +0000]", "22:47:58"},
		{"23 Nov 2026 22:47:58,459", "22:47:58.459"},
		{"[Mon Nov 23 22:47:58.459962 2026]", "22:47:58.459962"},
		{"Nov 23, 2026 10:47:58 PM", "22:47:58"},
		{"Nov 23, 2026, 10:47:58\u202fPM", "22:47:58"},
		{"Nov 23 22:47:58", "22:47:58"},
		{"11/23/2026, 10:47:58 PM", "22:47:58"},
		{"[11/23/26 22:47:58:459 UTC]", "22:47:58.459"},
		{"[11/23/26 23:47:58:459 CET]", "22:47:58.459"},
		{"23.11.2026 22:47:58", "22:47:58"},
		{"11-23 22:47:58.459", "22:47:58.459"},
		{"22:47:58.459", "22:47:58.459"},
		{"2026-327T22:47:58.459", "22:47:58.459"},
		{"1795474078.459", "22:47:58.459"},
		{"1795474078459", "22:47:58.459"},
		{"Mon, 23 Nov 2026 23:47:58 +0100", "22:47:58"},
		{"2026年11月23日 22:47:58", "22:47:58"},
	}
	near := time.Date(2026, 11, 23, 22, 47, 58, 5e8, time.UTC)
	for _, test := range tests {
		h := parseHead([]byte(test.stamp + " ERROR order 17 failed"))
		if got := h.stamp.time(near, 0).Format("2006-01-02 15:04:05.999999"); got != "2026-11-23 "+test.want {
			t.Errorf("%s: %s, want %s (%s)", test.stamp, got, test.want, h.stamp.kind)
		}
	}
}

// The app writes the wall clock of its own zone; what was just read was just written.
func TestTheZoneIsLearnedFromTheArrival(t *testing.T) {
	r := newReader(Options{Min: Error})
	for i := range 3 {
		r.now = r.now.Add(time.Second)
		r.read(fmt.Sprintf("%s ERROR [main] shop - order %d failed\n", r.now.Add(5*time.Hour+45*time.Minute).Format("2006-01-02 15:04:05.000"), i))
		r.silence()
	}
	for i, rec := range r.records {
		if want := time.Date(2026, 11, 23, 22, 0, i+1, 0, time.UTC); !rec.Time.Equal(want) || rec.ZoneGiven {
			t.Errorf("record %d: %v, want %v", i, rec.Time, want)
		}
	}
}

func TestAStampFromTheFutureIsTheArrival(t *testing.T) {
	r := newReader(Options{Min: Error})
	r.read("2031-01-01T00:00:00Z ERROR shop - order 17 failed\n")
	r.silence()
	if got := r.records[0].Time; !got.Equal(r.now) {
		t.Errorf("time %v, want %v", got, r.now)
	}
}

func TestBytesThatAreNotUTF8AreKept(t *testing.T) {
	records := cut(Options{Min: Error}, "2026-11-23 22:00:00 ERROR Bestellung f\xfcr M\xfcller \x80 5\n")
	if want := "2026-11-23 22:00:00 ERROR Bestellung für Müller € 5"; records[0].Text != want {
		t.Errorf("text %q, want %q", records[0].Text, want)
	}
}

// Standard error's trace goes on with standard error's message, whatever standard output writes between.
func TestTheStreamsOfARuntimeAreKeptApart(t *testing.T) {
	const log = "2026-11-23T22:00:00.000000000Z stdout F 2026-11-23 22:00:00 INFO open\n" +
		"2026-11-23T22:00:01.000000000Z stderr F order 17 is not there\n" +
		"2026-11-23T22:00:01.000000001Z stdout F 2026-11-23 22:00:01 INFO read\n" +
		"2026-11-23T22:00:01.000000002Z stderr F Traceback (most recent call last):\n" +
		"2026-11-23T22:00:01.000000003Z stdout F 2026-11-23 22:00:01 INFO read\n" +
		"2026-11-23T22:00:01.000000004Z stderr F ValueError: 17\n"
	for _, learned := range [][]byte{nil, seasoned(New(Options{}, nil))} {
		records, _ := feedIn(Options{Min: Error}, learned, []byte(log), whole)
		if len(records) != 1 || records[0].Text != "order 17 is not there\nTraceback (most recent call last):\nValueError: 17" {
			t.Errorf("%d records, the first is %+v", len(records), records[0])
		}
	}
}

func TestUTF16(t *testing.T) {
	const log = "\uFEFF2026-11-23 22:00:00.000 INFO open\r\n2026-11-23 22:00:01.000 ERROR Bestellung für Müller 💥\r\nmehr dazu\r\n2026-11-23 22:00:02.000 INFO goes on\r\n"
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		var wide []byte
		for _, unit := range utf16.Encode([]rune(log)) {
			wide = order.AppendUint16(wide, unit)
		}
		records := cut(Options{Min: Error, UTF16: order.(binary.ByteOrder)}, string(wide))
		if len(records) != 1 || records[0].Text != "2026-11-23 22:00:01.000 ERROR Bestellung für Müller 💥\nmehr dazu" {
			t.Fatalf("%v: records %+v", order, records)
		}
		if r := records[0]; r.Offset != 2*36 || r.Length != 2*(54+2+9) {
			t.Errorf("%v: at %d, %d bytes", order, r.Offset, r.Length)
		}
	}
}

func TestAPatternForWhatCannotBeGuessed(t *testing.T) {
	head, err := ParseHead(`^§ %{TIME:time} %{WORD:level} `)
	if err != nil {
		t.Fatal(err)
	}
	records := cut(Options{Min: Error, Head: head}, "§ 22:00:00 INFO open\n§ 22:00:01 SEVERE failed\nmore of it\n§ 22:00:02 INFO open\n")
	if len(records) != 1 || records[0].Severity != Error || !strings.HasSuffix(records[0].Text, "more of it") {
		t.Errorf("records %+v", records)
	}
	for _, bad := range []string{"(", "%{NOSUCH:x}", strings.Repeat("a", 5000)} {
		if _, err := ParseHead(bad); err == nil {
			t.Errorf("%.20s was taken", bad)
		}
	}
}

func TestLearnedStaysSmall(t *testing.T) {
	r := newReader(Options{All: true})
	for i := range 5000 {
		r.read(fmt.Sprintf("%s2026-11-23 22:00:00 x%d: y\n", strings.Repeat("[a] ", i%20), i))
	}
	if n := len(r.Learned()); n > 4<<10 {
		t.Errorf("%d bytes", n)
	}
}

func TestLearnedOfAnotherMakeIsPassedOver(t *testing.T) {
	for _, alien := range []string{"", "not ours", `{"Seen":-7}`, `{"Shapes":"x"}`} {
		var got []*Record
		s := New(Options{Min: Error}, []byte(alien))
		s.Feed(0, []byte("ERROR: order 17 failed\n"), time.Time{}, nil)
		if s.Flush(func(r *Record) { got = append(got, r) }); len(got) != 1 {
			t.Errorf("%q: %d records", alien, len(got))
		}
	}
}
