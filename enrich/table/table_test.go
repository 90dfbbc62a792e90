package table

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/openreplay/log-sidecar/enrich"
)

// TestMain lets the test binary be the sidecar that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("TABLE_VICTIM"); path != "" {
		victim(path)
	}
	os.Exit(m.Run())
}

var epoch = time.Unix(1_800_000_000, 0)

// clock is the time of a table in a test.
type clock struct{ now time.Time }

func (c *clock) pass(d time.Duration) time.Time { c.now = c.now.Add(d); return c.now }

func opened(t testing.TB, c Config) *Table {
	t.Helper()
	table, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

func exchange(n int, session string, begin time.Time) *enrich.Exchange {
	return &enrich.Exchange{
		ID: fmt.Sprintf("6f1c9d3e-95a1-4b9e-8f0e-%012x", n), Session: session, SessionBy: "header", Method: "POST",
		Target: fmt.Sprintf("/orders/%d?x=y", n), Client: "192.0.2.7", IDs: []string{fmt.Sprintf("incoming-%d", n)},
		AppSession: uint64(n), Begin: begin,
	}
}

// all gives what a search of the table yields.
func all(search func(yield func(enrich.Exchange) bool)) (found []enrich.Exchange) {
	search(func(x enrich.Exchange) bool { found = append(found, x); return true })
	return found
}

func byID(t *Table, id string) []enrich.Exchange {
	return all(func(yield func(enrich.Exchange) bool) { t.ByID(id, yield) })
}

var sameExchange = cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })}

func TestFoundByAllThatItIsKnownBy(t *testing.T) {
	c := &clock{epoch}
	table := opened(t, Config{Size: minSize, Now: func() time.Time { return c.now }})
	x := exchange(1, "token", c.now)
	table.Begin(x)
	x.Upstream = netip.MustParseAddrPort("127.0.0.1:40001")
	table.Update(x)
	x.IDs = append(x.IDs, "the-answer's-id")
	x.Status, x.Head, x.End = 500, c.pass(time.Second), c.pass(time.Second)
	table.End(x)
	for name, search := range map[string]func(func(enrich.Exchange) bool){
		"its ID":                   func(y func(enrich.Exchange) bool) { table.ByID(x.ID, y) },
		"its ID in capitals":       func(y func(enrich.Exchange) bool) { table.ByID(strings.ToUpper(x.ID), y) },
		"its ID without hyphens":   func(y func(enrich.Exchange) bool) { table.ByID(strings.ReplaceAll(x.ID, "-", ""), y) },
		"the incoming ID":          func(y func(enrich.Exchange) bool) { table.ByID("incoming-1", y) },
		"the answer's ID":          func(y func(enrich.Exchange) bool) { table.ByID("the-answer's-id", y) },
		"the session":              func(y func(enrich.Exchange) bool) { table.BySession("token", y) },
		"the app's session cookie": func(y func(enrich.Exchange) bool) { table.ByAppSession(1, y) },
		"the connection":           func(y func(enrich.Exchange) bool) { table.ByUpstream(x.Upstream, c.now, y) },
		"the time":                 func(y func(enrich.Exchange) bool) { table.During(c.now, c.now, y) },
	} {
		if diff := cmp.Diff([]enrich.Exchange{*x}, all(search), sameExchange); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", name, diff)
		}
	}
	if got := byID(table, "incoming-2"); len(got) != 0 {
		t.Errorf("an ID of nobody finds %v", got)
	}
}

// TestConnection: exchanges follow one another on a connection, and the latest that had begun has it.
func TestConnection(t *testing.T) {
	c := &clock{epoch}
	table := opened(t, Config{Size: minSize, Now: func() time.Time { return c.now }})
	addr := netip.MustParseAddrPort("127.0.0.1:40001")
	for n := range 3 {
		x := exchange(n, "token", c.now)
		x.Upstream = addr
		table.Begin(x)
		x.End = c.pass(time.Second)
		table.End(x)
		c.pass(time.Second)
	}
	got := all(func(y func(enrich.Exchange) bool) { table.ByUpstream(addr, epoch.Add(3*time.Second), y) })
	if len(got) != 2 || got[0].Target != "/orders/1?x=y" || got[1].Target != "/orders/0?x=y" {
		t.Errorf("after 3 s the connection had %v", got)
	}
}

// TestWhoGoesFirst: exchanges without a session and without an error, then the others, the oldest first; what is still
// wanted is counted.
func TestWhoGoesFirst(t *testing.T) {
	c := &clock{epoch}
	table := opened(t, Config{Size: minSize, Now: func() time.Time { return c.now }})
	fill := func(from, n int, session string) {
		for i := range n {
			x := exchange(from+i, session, c.now)
			table.Begin(x)
			x.End = c.pass(time.Millisecond)
			table.End(x)
		}
	}
	since := c.now
	fill(0, 50, "token")
	fill(1000, 2*len(table.places), "")
	for i := range 50 {
		if len(byID(table, exchange(i, "", epoch).ID)) != 1 {
			t.Fatalf("exchange %d has a session and went before those without", i)
		}
	}
	if !table.EvictedSince(since) {
		t.Error("nothing counts as evicted")
	}
	if got := testutil.ToFloat64(table.metrics.missed); got != 0 {
		t.Errorf("%v are counted as missed, though all had neither session nor error", got)
	}
	fill(5000, 2*len(table.places), "token")
	if got := testutil.ToFloat64(table.metrics.missed); got == 0 {
		t.Error("sessions of a moment ago went, and nobody counts it")
	}
	last := 5000 + 2*len(table.places) - 1
	if len(byID(table, exchange(last, "", epoch).ID)) != 1 {
		t.Error("the latest exchange is gone")
	}
}

// TestAModel compares the table with a plain map over random lives of exchanges that all fit.
func TestAModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "table")
		os.Remove(path)
		c := &clock{epoch}
		config := Config{Path: path, Size: minSize, Now: func() time.Time { return c.now }}
		table, err := Open(config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { table.Close() }()
		model := map[int]*enrich.Exchange{}
		some := func() *enrich.Exchange { return model[rapid.IntRange(0, max(0, len(model)-1)).Draw(t, "which")] }
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				if len(model) == 40 {
					t.Skip("full")
				}
				x := exchange(len(model), rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "session"), c.pass(time.Millisecond))
				x.Target = strings.Repeat("/é", rapid.IntRange(0, 200).Draw(t, "length"))
				table.Begin(x)
				model[len(model)] = x
			},
			"update": func(t *rapid.T) {
				if x := some(); x != nil && x.End.IsZero() {
					x.IDs = append(x.IDs, rapid.StringMatching(`[a-z0-9]{8,40}`).Draw(t, "id"))
					x.Upstream = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(rapid.IntRange(1, 9).Draw(t, "port")))
					table.Update(x)
				}
			},
			"end": func(t *rapid.T) {
				if x := some(); x != nil && x.End.IsZero() {
					x.Status, x.End = 500, c.pass(time.Millisecond)
					table.End(x)
				}
			},
			"kill and start again": func(t *rapid.T) {
				table.Close()
				c.pass(time.Second)
				if table, err = Open(config); err != nil {
					t.Fatal(err)
				}
				for _, x := range model {
					if x.End.IsZero() {
						x.End = c.now
					}
				}
			},
			"": func(t *rapid.T) {
				for _, x := range model {
					for _, id := range append([]string{x.ID}, x.IDs[:min(len(x.IDs), maxIDs)]...) {
						got := byID(table, id)
						i := slices.IndexFunc(got, func(y enrich.Exchange) bool { return y.ID == x.ID })
						if i < 0 {
							t.Fatalf("%s does not find %s", id, x.ID)
						}
						if g := got[i]; !g.End.Equal(x.End) || g.Session != x.Session || g.Status != x.Status || g.Upstream != x.Upstream {
							t.Fatalf("found %+v, want %+v", g, *x)
						}
					}
				}
			},
		})
	})
}

func TestASecondSidecarIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	opened(t, Config{Path: path, Size: minSize})
	if _, err := Open(Config{Path: path, Size: minSize}); err == nil || !strings.Contains(err.Error(), "another sidecar") {
		t.Errorf("a second table on one file: %v", err)
	}
}

func TestAForeignFileIsSetAside(t *testing.T) {
	for name, content := range map[string]string{
		"foreign": "something else", "cut short": magic, "of another size": strings.Repeat("x", 2*minSize),
	} {
		path := filepath.Join(t.TempDir(), "table")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		table := opened(t, Config{Path: path, Size: minSize})
		aside, _ := filepath.Glob(path + ".set-aside-*")
		if table.SetAside == "" || len(aside) != 1 {
			t.Errorf("%s: SetAside = %q, files %q", name, table.SetAside, aside)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: the new file: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestConcurrent is for the race detector: requests, the reader of logs and the metrics at the same time.
func TestConcurrent(t *testing.T) {
	table := opened(t, Config{Size: minSize})
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 500 {
				x := exchange(g*1000+i, "token", time.Now())
				table.Begin(x)
				x.Status = 200
				table.Update(x)
				byID(table, x.ID)
				table.During(x.Begin, time.Now(), func(enrich.Exchange) bool { return false })
				table.End(x)
				table.count()
			}
		})
	}
	group.Wait()
}

// victim begins exchanges, and says of each that it has begun, until it is killed.
func victim(path string) {
	table, err := Open(Config{Path: path, Size: 1 << 20})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var say sync.Mutex
	for g := range 4 {
		go func() {
			for i := 0; ; i++ {
				x := exchange(g<<24+i, fmt.Sprintf("session-%d", g), time.Now())
				table.Begin(x)
				say.Lock()
				fmt.Println(g<<24 + i)
				say.Unlock()
				x.IDs = append(x.IDs, strings.Repeat("later", i%40))
				table.Update(x)
				x.Status, x.End = 200, time.Now()
				table.End(x)
			}
		}()
	}
	select {}
}

// TestAKillLosesNothing kills a process under load and looks for what it said it had.
func TestAKillLosesNothing(t *testing.T) {
	for round := range 15 {
		path := filepath.Join(t.TempDir(), "table")
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TABLE_VICTIM="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var begun []int
		for lines.Scan() {
			var n int
			if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
				t.Fatalf("the victim says %q", lines.Text())
			}
			begun = append(begun, n)
			if len(begun) == 300+37*round { // somewhere; what it says meanwhile is read to the end
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		table := opened(t, Config{Path: path, Size: 1 << 20})
		if table.SetAside != "" || table.Recovery.Dropped > 4 { // one per goroutine may have been in the middle of its Begin
			t.Errorf("round %d: %q, %+v", round, table.SetAside, table.Recovery)
		}
		for _, n := range begun[max(0, len(begun)-500):] { // what is older may have made room
			id := exchange(n, "", epoch).ID
			if got := byID(table, id); len(got) != 1 || got[0].Session != fmt.Sprintf("session-%d", n>>24) || got[0].End.IsZero() {
				t.Fatalf("round %d: exchange %d after the kill: %+v", round, n, got)
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed")
	table, err := Open(Config{Path: path, Size: minSize})
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		table.Begin(exchange(i, "token", epoch))
	}
	table.Close()
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed[firstSlot*slotSize:][:8*slotSize], seed[redoAt:redoImage+300])
	f.Fuzz(func(t *testing.T, content, redo []byte) {
		path := filepath.Join(t.TempDir(), "table")
		b := slices.Clone(seed)
		copy(b[firstSlot*slotSize:], content)
		copy(b[redoAt:firstSlot*slotSize], redo)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		table := opened(t, Config{Path: path, Size: minSize})
		for i := range 2000 { // enough to use every slot again
			x := exchange(i, "token", time.Now())
			table.Begin(x)
			x.End = time.Now()
			table.End(x)
			if len(byID(table, x.ID)) == 0 {
				t.Fatalf("exchange %d is not found", i)
			}
		}
	})
}

func BenchmarkExchange(b *testing.B) {
	table := opened(b, Config{})
	x := exchange(1, "jw4wdfpgqhoj.3az.lrraavgc.ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4sndRrpZevt3q", time.Now())
	addr := netip.MustParseAddrPort("127.0.0.1:40001")
	b.ReportAllocs()
	for b.Loop() {
		x.Upstream, x.End = netip.AddrPort{}, time.Time{}
		table.Begin(x)
		x.Upstream = addr
		table.Update(x)
		x.End = x.Begin
		table.End(x)
	}
}

func BenchmarkByIDMiss(b *testing.B) {
	table := opened(b, Config{})
	b.ReportAllocs()
	for b.Loop() {
		table.ByID("6f1c9d3e-95a1-4b9e-8f0e-0c2a54d3a111", func(enrich.Exchange) bool { return true })
	}
}
