// Package table keeps the exchanges in a fixed piece of mapped memory that survives a crash.
//
// An exchange is copied into slots of 256 bytes, as many as its text needs; there are no pointers in them, so the garbage
// collector never looks at them. Each exchange has a check word, and a change goes through a redo record: after a SIGKILL
// at any moment, every exchange whose Begin had returned is found again, in the state that its last call left. What the
// kernel had not written to a disk yet is lost with the node. The index is in memory of its own and built anew when a
// file is opened.
package table

import (
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/internal/mapped"
)

// DefaultSize is room for some 24,000 exchanges that belong to a session, or 48,000 short ones that do not.
const DefaultSize = 16 << 20

const (
	minSize = 256 << 10
	maxSize = 1 << 30
)

// Config is what a Table needs.
type Config struct {
	// Path is the file that is mapped, "" for memory that ends with the process. On a memory-backed volume no disk can
	// slow a request down.
	Path string
	// Size bounds the memory that the table may take in all, in bytes. The file has three quarters of it, the index
	// the rest. 0: DefaultSize.
	Size       int64
	Now        func() time.Time      // nil: time.Now
	Registerer prometheus.Registerer // nil: nobody reads the metrics
}

// Recovery says what a file held when it was opened.
type Recovery struct {
	At      time.Time // what was still open has this as its End
	Held    int       // exchanges that were found whole
	Closed  int       // of these, the ones that were still open
	Dropped int       // exchanges that were damaged, and are gone
}

// A Table holds the latest exchanges. Its methods may be called from any goroutine. Begin, Update and End are for the
// path of a request: they allocate nothing and wait for nothing but each other, for about a microsecond.
type Table struct {
	// SetAside says in a sentence which file could not be trusted, why, and where it is now; "" where that did not happen.
	SetAside string
	// Recovery is zero where nothing was there to recover.
	Recovery Recovery

	now     func() time.Time
	metrics *metrics
	seeds   [keyKinds]maphash.Seed

	mu     sync.Mutex
	closed bool
	memory *mapped.Memory
	slots  // what memory holds
	index
	places   []place
	free     uint32 // the first of the slots that were used and are free
	nfree    int
	grown    uint32 // slots from here on were never touched, and cost no memory
	lists    [nlists]list
	gen      uint32
	youngest int64 // when the youngest evicted exchange ended
	astray   int   // evicted exchanges that are still open
	image    [maxImage]byte
}

// Open opens or makes the table. A file that is damaged or not ours is renamed, see Table.SetAside. An error says why the
// file cannot be used (another sidecar has it, there is no room ...) and leaves nothing behind; the caller can go on with
// Path "".
func Open(c Config) (*Table, error) {
	if c.Size == 0 {
		c.Size = DefaultSize
	}
	if c.Size < minSize || c.Size > maxSize {
		return nil, fmt.Errorf("a table of %d bytes: choose between %d KiB and %d MiB", c.Size, minSize>>10, maxSize>>20)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	t := newTable(c.Now)
	if err := t.open(c.Path, int(c.Size/(slotSize+perSlot))); err != nil {
		return nil, err
	}
	t.metrics.register(c.Registerer, t)
	return t, nil
}

func newTable(now func() time.Time) *Table {
	t := &Table{now: now, metrics: newMetrics()}
	for i := range t.seeds {
		t.seeds[i] = maphash.MakeSeed()
	}
	return t
}

func (t *Table) open(path string, slots int) (err error) {
	used, err := t.back(path, slots)
	if err != nil {
		return err
	}
	t.SetAside = t.memory.SetAside
	if err := t.prepare(slots); err != nil {
		t.memory.Close()
		return err
	}
	t.youngest = t.now().UnixNano() // nobody knows what was before
	if used {
		t.locked(t.recover)
		t.memory.Rest()
	}
	return nil
}

// fileKind is what the table's files are.
var fileKind = mapped.Kind{Magic: "ORSTABL1", What: "the table", Path: "--table", Size: "--table-size"}

// back puts memory behind the slots. used says that it holds exchanges of an earlier life.
func (t *Table) back(path string, slots int) (used bool, err error) {
	if t.memory, used, err = mapped.Open(fileKind, path, slots*slotSize); err == nil {
		t.slots = t.memory.Bytes
	}
	return used, err
}

// prepare makes the table empty.
func (t *Table) prepare(slots int) (err error) {
	if t.places, err = array[place](slots); err != nil {
		return fmt.Errorf("memory for the table's index: %w", err)
	}
	if t.index, err = newIndex(slots); err != nil {
		return fmt.Errorf("memory for the table's index: %w", err)
	}
	t.free, t.nfree, t.grown = 0, 0, firstSlot
	t.lists = [nlists]list{}
	return nil
}

// Begin takes an exchange in and sets its Ref.
func (t *Table) Begin(x *enrich.Exchange) {
	x.Ref = 0
	t.locked(func() { x.Ref = t.begin(x) })
}

// Update takes in what is newly known. It does nothing for an exchange that was evicted.
func (t *Table) Update(x *enrich.Exchange) { t.locked(func() { t.update(x) }) }

// End is Update for the last time; the exchange is not open any more.
func (t *Table) End(x *enrich.Exchange) { t.locked(func() { t.end(x) }) }

// EvictedSince says whether an exchange was evicted that was open at since or later. A line of then may have been its
// line: it must not be given to another on the ground that nobody else was there. What was before the table was made
// counts as evicted too.
func (t *Table) EvictedSince(since time.Time) (evicted bool) {
	t.locked(func() { evicted = t.evictedSince(since.UnixNano()) })
	return evicted
}

// Close unmaps the file and lets go of it. Calls that come later do nothing and find nothing.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	release(t.places)
	t.index.release()
	return t.memory.Close()
}

// locked runs f alone. The kernel answers with a fault where the file was cut short by somebody or its disk fails; that
// costs the table its content, but never the request.
func (t *Table) locked(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed && !t.memory.Guard(f) {
		t.startOver()
	}
}

// startOver goes on in memory that no file stands behind.
func (t *Table) startOver() {
	t.metrics.faults.Inc()
	slots := len(t.places)
	release(t.places)
	t.index.release()
	t.memory.Close()
	_, err := t.back("", slots)
	if err == nil {
		err = t.prepare(slots)
	}
	t.closed = err != nil
	t.youngest, t.astray = t.now().UnixNano(), 0
}
