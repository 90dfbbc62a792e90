package record

import (
	"testing"
	"time"
)

// cut gives the records of a log that is read at one go.
func cut(options Options, log string) []*Record {
	var records []*Record
	emit := func(r *Record) { records = append(records, r) }
	s := New(options, nil)
	s.Feed(0, []byte(log), time.Time{}, emit)
	s.Flush(emit)
	return records
}

func TestARecordIsItsHeadAndItsTrace(t *testing.T) {
	const log = "2026-11-23 22:29:38.465 INFO  [main] com.acme.Shop - open\n" +
		"2026-11-23 22:29:39.001 ERROR [http-1] com.acme.Shop - order 7 lost\n" +
		"java.lang.IllegalStateException: closed\n\tat com.acme.Shop.close(Shop.java:13)\n" +
		"2026-11-23 22:29:40.001 INFO  [main] com.acme.Shop - done\n"
	records := cut(Options{Min: Error}, log)
	if len(records) != 1 {
		t.Fatalf("%d records, want 1", len(records))
	}
	r := records[0]
	if r.Severity != Error || r.Offset != 58 || r.Thread != "http-1" {
		t.Errorf("severity %v, offset %d, thread %q", r.Severity, r.Offset, r.Thread)
	}
	if want := log[r.Offset : r.Offset+r.Length]; r.Text != want {
		t.Errorf("text %q, want %q", r.Text, want)
	}
}
