package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/enrich/record"
)

// try reads logs and says what the sidecar would find in them. It changes nothing.
func try(ctx context.Context, p process, args []string) error {
	flags := flag.NewFlagSet("sidecar try", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	asJSON := flags.Bool("json", false, "one JSON object a line for each record at ERROR or above")
	all := flags.Bool("all", false, "with --json: every record")
	recording := flags.String("exchanges", "", "with --json: match the errors with the exchanges in this `FILE`, which run --record-exchanges wrote")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	var hindsight *enrich.Hindsight
	if *recording != "" {
		h, closing, err := readExchanges(*recording)
		if err != nil {
			return err
		}
		defer closing()
		hindsight = &h
	}
	if flags.NArg() == 0 {
		return usageError{errors.New("try needs the log files to read: sidecar try LOG..")}
	}
	out := bufio.NewWriter(p.stdout)
	defer out.Flush()
	for _, path := range flags.Args() {
		t := trial{ctx: ctx, path: path, out: out, progress: io.Discard, hindsight: hindsight}
		if terminal(p.stderr) {
			t.progress = p.stderr
		}
		if err := t.read(*asJSON, *all); err != nil {
			return err
		}
	}
	return nil
}

// A trial is one file.
type trial struct {
	ctx       context.Context
	path      string
	out       *bufio.Writer
	progress  io.Writer
	hindsight *enrich.Hindsight   // nil without --exchanges
	matches   map[int64]*tryMatch // by the record's offset

	lines, blank        int64
	records, errors     int
	inRecords           int64
	formats, severities map[string]int
	withID, withTime    int
	examples            []*record.Record
}

// tryBlock is how much is read at a time, in bytes.
const tryBlock = 1 << 20

func (t *trial) read(asJSON, all bool) error {
	file, err := os.Open(t.path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	t.formats, t.severities = map[string]int{}, map[string]int{}
	take := t.count
	options := record.Options{Min: record.Error, All: true, Lines: true}
	if asJSON {
		options.All, take = all, t.print
		if err := t.match(); err != nil {
			return err
		}
	}
	if err := t.feed(record.New(options, nil), file, info.Size(), take); err != nil {
		return err
	}
	if !asJSON {
		t.summary()
	}
	return nil
}

// feed gives the splitter whole lines, block by block.
func (t *trial) feed(s *record.Splitter, file io.Reader, size int64, take func(*record.Record)) error {
	block := make([]byte, 0, tryBlock)
	offset := int64(0)
	for {
		n, err := io.ReadFull(file, block[len(block):cap(block)])
		block = block[:len(block)+n]
		end := len(block)
		if err == nil {
			if i := bytes.LastIndexByte(block, '\n'); i >= 0 {
				end = i + 1
			} else if cap(block) < 64*tryBlock { // a line longer than the block
				block = slices.Grow(block, cap(block))
				continue
			}
		}
		t.countLines(block[:end])
		s.Feed(offset, block[:end], time.Time{}, take) // when the bytes arrived is not known
		offset += int64(end)
		block = append(block[:0], block[end:]...)
		fmt.Fprintf(t.progress, "\r\x1b[2K%s: %d %%", t.path, 100*offset/max(size, 1))
		if err != nil {
			s.Flush(take)
			fmt.Fprint(t.progress, "\r\x1b[2K")
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			return err
		}
		if t.ctx.Err() != nil {
			return t.ctx.Err()
		}
	}
}

func (t *trial) countLines(block []byte) {
	for line := range bytes.Lines(block) {
		t.lines++
		if len(bytes.TrimSpace(line)) == 0 {
			t.blank++
		}
	}
}

// tried is a record as --json shows it.
type tried struct {
	File      string     `json:"file"`
	FirstLine int64      `json:"firstLine"`
	LastLine  int64      `json:"lastLine"`
	Severity  string     `json:"severity"`
	Time      *time.Time `json:"time,omitempty"`
	Message   string     `json:"message"`
	IDs       []string   `json:"ids"`
	Format    string     `json:"format"`
	Match     *tryMatch  `json:"match,omitempty"`
}

type tryMatch struct {
	RequestID string `json:"requestId"`
	Session   string `json:"session"`
	MatchedBy string `json:"matchedBy"`
	Match     string `json:"match"`
}

// match finds the exchanges of all errors in the file, as far as they can be told afterwards.
func (t *trial) match() error {
	if t.hindsight == nil {
		return nil
	}
	h := *t.hindsight
	t.matches = map[int64]*tryMatch{}
	h.MinSeverity, h.Unmatched, h.Infer, h.Log, h.Registerer = record.Error, true, enrich.InferKind, zap.NewNop(), prometheus.NewRegistry()
	h.Out = func(_ context.Context, f *enrich.Finding) error {
		if x := f.Exchange; x != nil {
			t.matches[f.Record.Offset] = &tryMatch{x.ID, x.Session, f.By, map[bool]string{true: "inferred", false: "exact"}[f.Inferred]}
		}
		f.Release()
		return nil
	}
	return h.Match(t.ctx, t.path)
}

func (t *trial) print(r *record.Record) {
	o := tried{t.path, r.FirstLine, r.LastLine, r.Severity.String(), nil, r.Text, ids(r), r.Format, t.matches[r.Offset]}
	if !r.Time.IsZero() {
		o.Time = &r.Time
	}
	line, err := json.Marshal(o)
	if err == nil {
		t.out.Write(append(line, '\n'))
	}
}

// ids are the words by which the record could be found, the ones under an ID key first.
func ids(r *record.Record) []string {
	const most = 50
	out := slices.Clone(r.IDs)
	for word := range r.Words {
		if len(out) < most && !slices.Contains(out, word) {
			out = append(out, word)
		}
	}
	if out == nil {
		out = []string{}
	}
	return out
}

func (t *trial) count(r *record.Record) {
	t.records++
	t.inRecords += r.LastLine - r.FirstLine + 1
	t.formats[r.Format]++
	t.severities[r.Severity.String()]++
	if !r.Time.IsZero() {
		t.withTime++
	}
	if r.Severity < record.Error {
		return
	}
	t.errors++
	if len(ids(r)) > 0 {
		t.withID++
	}
	if len(t.examples) < 3 {
		t.examples = append(t.examples, r)
	}
}

func (t *trial) summary() {
	fmt.Fprintf(t.out, "%s: %d lines, %d of them blank, in %d records; %d are errors\n", t.path, t.lines, t.blank, t.records, t.errors)
	fmt.Fprintf(t.out, "  formats     %s\n", counts(t.formats))
	fmt.Fprintf(t.out, "  severities  %s\n", counts(t.severities))
	fmt.Fprintf(t.out, "  with a time of their own: %d of %d records\n", t.withTime, t.records)
	fmt.Fprintf(t.out, "  with words that could be a request's ID: %d of %d errors\n", t.withID, t.errors)
	for _, r := range t.examples {
		fmt.Fprintf(t.out, "\n  lines %d-%d  %s  %s", r.FirstLine+1, r.LastLine+1, r.Severity, r.Format)
		if !r.Time.IsZero() {
			fmt.Fprintf(t.out, "  %s", r.Time.Format(time.RFC3339Nano))
		}
		fmt.Fprintln(t.out)
		lines := strings.Split(r.Text, "\n")
		for _, line := range lines[:min(4, len(lines))] {
			fmt.Fprintf(t.out, "    | %.140s\n", line)
		}
		if len(lines) > 4 {
			fmt.Fprintf(t.out, "    | ... %d more lines\n", len(lines)-4)
		}
	}
	if t.errors == 0 {
		fmt.Fprintln(t.out, "  no errors: if there are some in it, tell us what they look like")
	}
}

func counts(m map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int { return m[b] - m[a] })
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}
