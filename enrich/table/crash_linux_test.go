package table

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"
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

const victimSize = 1 << 20 // some 1,500 exchanges: there are evictions too

// victim begins and ends exchanges, and says of each when it has done so, until it is killed.
func victim(path string) {
	table, err := Open(Config{Path: path, Size: victimSize})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var say sync.Mutex
	round := table.Recovery.At.UnixNano() / 1e6 % 1e6 * 1e6 // so that no two lives have the same exchanges
	for g := range 4 {
		go func() {
			for i := g; ; i += 4 {
				x := exchange(int(round)+i, "session", time.Now())
				table.Begin(x)
				told(&say, "begun", int(round)+i)
				x.IDs = append(x.IDs, strings.Repeat("later", i%40))
				x.Upstream = netip.MustParseAddrPort("127.0.0.1:40001")
				table.Update(x)
				x.Status, x.End = 503, time.Now()
				table.End(x)
				told(&say, "ended", int(round)+i)
			}
		}()
	}
	select {}
}

func told(say *sync.Mutex, what string, n int) {
	say.Lock()
	defer say.Unlock()
	fmt.Println(what, n)
}

// TestAKillLosesNothing kills a process under load, at any moment, and looks for what it said it had; and again, with what
// it left.
func TestAKillLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	for round := range 15 {
		begun, ended := killed(t, path, 1+rand.IntN(3000))
		table, err := Open(Config{Path: path, Size: victimSize})
		if err != nil {
			t.Fatal(err)
		}
		if r := table.Recovery; table.SetAside != "" || r.Dropped > 0 || r.Held == 0 || r.Closed > 4 {
			t.Errorf("round %d: %q, %+v", round, table.SetAside, r)
		}
		for _, n := range begun[max(0, len(begun)-500):] { // what is older may have made room
			got := byID(table, exchange(n, "", epoch).ID)
			if len(got) != 1 || got[0].Session != "session" || got[0].End.IsZero() {
				t.Fatalf("round %d: exchange %d had begun, and after the kill there is %+v", round, n, got)
			}
			if closed := got[0].End.Equal(table.Recovery.At); ended[n] && (closed || got[0].Status != 503) {
				t.Fatalf("round %d: exchange %d had ended, and after the kill it is %+v", round, n, got)
			}
		}
		table.Close()
	}
}

// killed runs a victim until it has said so many lines. What it says while it dies counts too.
func killed(t *testing.T, path string, after int) (begun []int, ended map[int]bool) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TABLE_VICTIM="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = map[int]bool{}
	lines := bufio.NewReader(out)
	for said := 1; ; said++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF { // a line without its end was not said
			break
		}
		var what string
		var n int
		if _, err := fmt.Sscan(line, &what, &n); err != nil {
			t.Fatalf("the victim says %q", line)
		}
		if what == "begun" {
			begun = append(begun, n)
		} else {
			ended[n] = true
		}
		if said == after {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	return begun, ended
}

// TestAHalfDoneChange: wherever a change is broken off, the exchange is there, as it was or as it was to be.
func TestAHalfDoneChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	table := opened(t, Config{Path: path, Size: minSize})
	x := exchange(1, "token", epoch)
	table.Begin(x)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	x.IDs = append(x.IDs, strings.Repeat("later", 40))
	x.Status = 500
	table.Update(x)
	table.setRedo(1)
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	table.Close()
	for cut := firstSlot * slotSize; cut <= (firstSlot+4)*slotSize; cut += 3 { // the redo record stands, the slots are half new
		half := slices.Concat(after[:firstSlot*slotSize], after[firstSlot*slotSize:cut], before[cut:])
		if got := recovered(t, path, half, x.ID); len(got) != 1 || got[0].Status != 500 || len(got[0].IDs) != 2 {
			t.Fatalf("broken off in the slots at %d: %v", cut, got)
		}
	}
	for cut := redoAt + 4; cut < redoImage+600; cut++ { // the redo record is half written
		half := slices.Concat(before[:redoAt+4], after[redoAt+4:cut], before[cut:])
		if got := recovered(t, path, half, x.ID); len(got) != 1 || got[0].Status != 0 || len(got[0].IDs) != 1 {
			t.Fatalf("broken off in the redo record at %d: %v", cut, got)
		}
	}
}

// TestAChangeIsNotedFirst: the process is stopped at the first byte that a change writes into the slots.
func TestAChangeIsNotedFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	table := opened(t, Config{Path: path, Size: minSize})
	x := exchange(1, "token", epoch)
	table.Begin(x)
	if err := unix.Mprotect(table.slots[firstSlot*slotSize:], unix.PROT_READ); err != nil {
		t.Skipf("the slots do not begin with a page: %v", err)
	}
	x.Status = 500
	table.Update(x)
	if testutil.ToFloat64(table.metrics.faults) != 1 {
		t.Fatal("the write went through")
	}
	next := opened(t, Config{Path: path, Size: minSize})
	if got := byID(next, x.ID); len(got) != 1 || got[0].Status != 500 {
		t.Errorf("afterwards there is %v", got)
	}
}

func recovered(t *testing.T, path string, content []byte, id string) []enrich.Exchange {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	table, err := Open(Config{Path: path, Size: minSize})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	return byID(table, id)
}

// TestADamagedExchangeIsDropped, whichever of its bytes is wrong, and no other with it.
func TestADamagedExchangeIsDropped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	table := opened(t, Config{Path: path, Size: minSize})
	good, bad := exchange(1, "token", epoch), exchange(2, "token", epoch)
	bad.Target = strings.Repeat("/long", 60)
	table.Begin(good)
	table.Begin(bad)
	var numbers [maxSlots]uint32
	chain := table.slots.chain(uint32(bad.Ref), numbers[:0])
	size := table.slots.read(chain[0], table.image[:])
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	table.Close()
	for at := range size {
		broken := slices.Clone(content)
		broken[int(chain[at/payload])*slotSize+slotHead+at%payload] ^= 0x40
		if got := recovered(t, path, broken, bad.ID); len(got) != 0 {
			t.Fatalf("byte %d is wrong, and still there is %v", at, got)
		}
		if got := recovered(t, path, broken, good.ID); len(got) != 1 {
			t.Fatalf("byte %d is wrong, and the other exchange is gone", at)
		}
	}
}

// TestASlotHasOneOwner: what is wrong with the numbers of the next slots, which no check word covers, must not make a slot
// belong to two, or it would be handed out twice later.
func TestASlotHasOneOwner(t *testing.T) {
	const count = 48
	seed := slots(seedFile(t, count))
	head := uint32(firstSlot)
	for seed.kind(head) != kindHead {
		head++
	}
	more := seed.next(head)
	for name, test := range map[string]struct {
		damage  func(s slots)
		dropped int
	}{
		"two heads go on in one slot":     {func(s slots) { copy(s.at(count-1), s.at(head)) }, 1},
		"the last slot goes on in itself": {func(s slots) { le.PutUint32(s.at(more), more) }, 0},
		"the last slot goes on in another's": {func(s slots) {
			for other := uint32(firstSlot); ; other++ {
				if s.kind(other) == kindMore && other != more {
					le.PutUint32(s.at(more), other)
					return
				}
			}
		}, 0},
		"the first slot goes on in itself": {func(s slots) {
			le.PutUint32(s.at(head), head)
		}, 1},
	} {
		content := slices.Clone(seed)
		test.damage(content)
		table := openContent(t, filepath.Join(t.TempDir(), "table"), count, content)
		if r := table.Recovery; r.Dropped != test.dropped || r.Held < 2 {
			t.Errorf("%s: %+v", name, r)
		}
		checkSlots(t, table)
		flood(table, &clock{time.Now()}, 1000, 3*count, "token")
		checkSlots(t, table)
		table.Close()
	}
}

// TestALifeGoesOn plays random lives of exchanges, all of which fit, with restarts in between.
func TestALifeGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	rapid.Check(t, func(t *rapid.T) {
		os.Remove(path)
		c := &clock{epoch}
		config := Config{Path: path, Size: minSize, Now: c.Now}
		table, err := Open(config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { table.Close() }()
		var all, live []*enrich.Exchange
		pick := func(t *rapid.T) int {
			if len(live) == 0 {
				t.Skip("none is open")
			}
			return rapid.IntRange(0, len(live)-1).Draw(t, "which")
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				if len(all) == 40 {
					t.Skip("full")
				}
				x := exchange(len(all), rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "session"), c.pass(time.Millisecond))
				x.Target = strings.Repeat("/é", rapid.IntRange(0, 200).Draw(t, "length"))
				table.Begin(x)
				all, live = append(all, x), append(live, x)
			},
			"update": func(t *rapid.T) {
				x := live[pick(t)]
				x.IDs = append(x.IDs, rapid.StringMatching(`[a-z0-9]{8,40}`).Draw(t, "ID"))
				x.Upstream = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(rapid.IntRange(1, 9).Draw(t, "port")))
				table.Update(x)
			},
			"end": func(t *rapid.T) {
				i := pick(t)
				x := live[i]
				live = slices.Delete(live, i, i+1)
				x.Status, x.End = 500, c.pass(time.Millisecond)
				table.End(x)
			},
			"start again": func(t *rapid.T) {
				table.Close()
				c.pass(time.Second)
				if table, err = Open(config); err != nil {
					t.Fatal(err)
				}
				if r := table.Recovery; r.Held != len(all) || r.Closed != len(live) || r.Dropped != 0 {
					t.Fatalf("%+v of %d exchanges, %d of them open", r, len(all), len(live))
				}
				for _, x := range live {
					x.End = c.now
				}
				live = nil
			},
			"": func(t *rapid.T) {
				for _, x := range all {
					for _, id := range append([]string{x.ID}, x.IDs[:min(len(x.IDs), maxIDs)]...) {
						found := byID(table, id)
						i := slices.IndexFunc(found, func(y enrich.Exchange) bool { return y.ID == x.ID })
						if i < 0 {
							t.Fatalf("%s does not find %s", id, x.ID)
						}
						x.Ref = found[i].Ref // a new life gives new ones
						want := *x
						want.IDs = want.IDs[:min(len(want.IDs), maxIDs)]
						if diff := cmp.Diff(want, found[i], sameExchange, cutTarget); diff != "" {
							t.Fatalf("(-want +got):\n%s", diff)
						}
					}
				}
			},
		})
	})
}

func TestASecondSidecarIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	table := opened(t, Config{Path: path, Size: minSize})
	if _, err := Open(Config{Path: path, Size: minSize}); err == nil || !strings.Contains(err.Error(), "another sidecar") {
		t.Errorf("a second table on one file: %v", err)
	}
	table.Close()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	opened(t, Config{Path: path, Size: minSize})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("everybody may read the table: %v, %v", info.Mode(), err)
	}
}

func TestAForeignFileIsSetAside(t *testing.T) {
	for name, content := range map[string]string{
		"foreign": "something else", "cut short": fileKind.Magic, "of another size": strings.Repeat("x", 2*minSize),
	} {
		path := filepath.Join(t.TempDir(), "table")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		table := opened(t, Config{Path: path, Size: minSize})
		aside, err := os.ReadFile(path + ".set-aside")
		if !strings.Contains(table.SetAside, path+".set-aside") || string(aside) != content {
			t.Errorf("%s: SetAside = %q, with %d bytes, %v", name, table.SetAside, len(aside), err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: the new file: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestAnotherSizeIsSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	opened(t, Config{Path: path, Size: minSize}).Close()
	if table := opened(t, Config{Path: path, Size: 2 * minSize}); !strings.Contains(table.SetAside, "--table-size") {
		t.Errorf("SetAside = %q", table.SetAside)
	}
}

func TestAFileThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                              "is a directory",
		filepath.Join(dir, "no", "path"): "no such file",
		filepath.Join(dir, "pipe"):       "not a regular file",
	} {
		if _, err := Open(Config{Path: path, Size: minSize}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestAFullDiskIsAnErrorAtStart: and what was reserved of it is given back.
func TestAFullDiskIsAnErrorAtStart(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small file system is needed, and only root can mount one: %v", err)
	}
	defer unix.Unmount(dir, 0)
	path := filepath.Join(dir, "table")
	_, err := Open(Config{Path: path, Size: minSize})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "--table-size") {
		t.Errorf("on a full disk: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a piece of the file is left: %v", err)
	}
}

// TestAFileThatIsCutShort under the table costs its content, and no request.
func TestAFileThatIsCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	table := opened(t, Config{Path: path, Size: minSize})
	lost, next := exchange(1, "token", time.Now()), exchange(2, "token", time.Now())
	table.Begin(lost)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	table.Update(lost)
	table.End(lost)
	table.Begin(next)
	if len(byID(table, lost.ID)) != 0 || len(byID(table, next.ID)) != 1 {
		t.Error("the table did not begin anew")
	}
	if !table.EvictedSince(lost.Begin) || testutil.ToFloat64(table.metrics.faults) != 1 {
		t.Error("what was lost does not count")
	}
}

// FuzzOpen opens a small file of any content behind a good header. With sums, the images have the right check words.
func FuzzOpen(f *testing.F) {
	const slots = 48
	seed := seedFile(f, slots)
	for _, sums := range []bool{false, true} {
		f.Add(seed[firstSlot*slotSize:][:8*slotSize], seed[redoAt:redoImage+300], sums)
	}
	path := filepath.Join(f.TempDir(), "table")
	f.Fuzz(func(t *testing.T, content, redo []byte, sums bool) {
		table := openContent(t, path, slots, damaged(seed, content, redo, sums))
		defer table.Close()
		if table.SetAside != "" {
			t.Fatal(table.SetAside)
		}
		all(func(y func(enrich.Exchange) bool) { table.During(time.Unix(0, 0), time.Now().Add(time.Hour), y) })
		for i := range 3 * slots { // enough to use every slot again
			x := exchange(1000+i, "token", time.Now())
			table.Begin(x)
			x.End = time.Now()
			table.End(x)
			if !slices.ContainsFunc(byID(table, x.ID), func(y enrich.Exchange) bool { return y.Ref == x.Ref }) {
				t.Fatalf("exchange %d is not found", i)
			}
		}
		checkSlots(t, table)
	})
}

// seedFile is what a table of three exchanges leaves, of two slots each.
func seedFile(t testing.TB, slots int) []byte {
	path := filepath.Join(t.TempDir(), "seed")
	table := newTable(time.Now)
	if err := table.open(path, slots); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		x := exchange(i, "token", epoch)
		x.Target += strings.Repeat("&more", 30)
		table.Begin(x)
	}
	table.Close()
	seed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

func damaged(seed, content, redo []byte, sums bool) []byte {
	b := slots(slices.Clone(seed))
	copy(b[firstSlot*slotSize:], content)
	copy(b[redoAt:firstSlot*slotSize], redo)
	if sums {
		summed(b)
	}
	return b
}

func openContent(t *testing.T, path string, slots int, content []byte) *Table {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	table := newTable(time.Now)
	if err := table.open(path, slots); err != nil {
		t.Fatal(err)
	}
	return table
}

// summed gives the images the lengths and check words that let them pass for good ones.
func summed(b slots) {
	var image [1 << 16]byte
	for head := uint32(firstSlot); b.valid(head); head++ {
		var numbers [maxSlots]uint32
		chain := b.chain(head, numbers[:0])
		size := min(int(imageSize(b.start(head))), len(chain)*payload)
		if b.kind(head) != kindHead || size < fixedSize {
			continue
		}
		le.PutUint16(b.start(head)[atSize:], uint16(size))
		n := b.read(head, image[:])
		seal(image[:n])
		copy(b.start(head), image[:atSize])
	}
	le.PutUint32(b[redoCheck:], b.redoSum())
}
