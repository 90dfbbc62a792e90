//go:build e2e

package delivery

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/openreplay/log-sidecar/e2e/stage"
	"github.com/openreplay/log-sidecar/internal/localcloud"
)

// A row is one line of the table: what befalls the delivery while errors trickle in.
type row struct {
	name   string
	act    func(w *world)
	killed bool        // the sidecar is killed at random moments meanwhile
	poison answerFault // some entries are refused for good, from the beginning
	burst  int         // so many more errors while the fault stands
	disk   int         // the state directory has a file system of this size in bytes
}

const long = 50 // errors, of which 25 come in a second: how long most faults stand

var faults = []row{
	{name: "black-holed", act: network(swallows)},
	{name: "hanging", act: network(hanging)},
	{name: "quota, one in ten passes", act: answers(oneInTen)},
	{name: "PERMISSION_DENIED", act: answers(always(codes.PermissionDenied))},
	{name: "UNAUTHENTICATED", act: answers(always(codes.Unauthenticated))},
	{name: "refused", act: network(refusing)},
	{name: "a certificate that nobody trusts", act: network(distrust)},
	{name: "reset in mid-call", act: network(resetting)},
	{name: "each code in turn", act: answers(eachCode)},
	{name: "answers lost", act: answers(lost)},
	{name: "slow answers", act: answers(slow)},
	{name: "poison, named", act: nothing, poison: poisonNamed},
	{name: "poison, not named", act: nothing, poison: poisonUnnamed},
	{name: "server killed", act: serverKilled},
	{name: "full disk", act: fullDisk, disk: 32 << 20},
	{name: "none", act: nothing},
}

func TestFaults(t *testing.T) {
	rows := slices.Clone(faults)
	for _, r := range faults {
		if !slices.Contains([]string{"quota, one in ten passes", "PERMISSION_DENIED", "UNAUTHENTICATED"}, r.name) {
			r.killed = true
			rows = append(rows, r)
		}
	}
	number, table := seed(t), &table{}
	t.Run("row", func(t *testing.T) {
		for i, r := range rows {
			t.Run(r.title(), func(t *testing.T) {
				t.Parallel()
				line := fmt.Sprintf("| %s | gave up |", r.title())
				defer func() { table.add(line) }()
				w := newWorld(t, fmt.Sprintf("app%d", i), newCloud(t), rand.New(rand.NewPCG(number, uint64(i))), r.disk)
				line = w.tryOut(r)
			})
		}
	})
	fmt.Printf("\n| fault | errors | lost | doubled | wrong session | changed between tries | tries recognised | dead letters | kills | all there after |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n%s\nseed %d\n",
		strings.Join(slices.Sorted(slices.Values(table.lines)), "\n"), number)
}

type table struct {
	mu    sync.Mutex
	lines []string
}

func (t *table) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
}

func (r row) title() string {
	if r.killed {
		return r.name + ", SIGKILLs"
	}
	return r.name
}

// tryOut lets errors trickle while the row acts, and judges what arrived.
func (w *world) tryOut(r row) string {
	if r.poison != nil {
		w.app.poison = true
		w.cloud.answer(r.poison(w.dice()))
	}
	trickling, end := context.WithCancel(context.Background())
	defer end()
	var group sync.WaitGroup
	defer group.Wait()
	defer end()
	group.Go(func() { w.visits(aUser, func() bool { return trickling.Err() != nil }) })
	w.during(5)
	r.act(w)
	if r.killed {
		w.strikes(4)
	}
	w.heal(r)
	w.during(10)
	end()
	group.Wait()
	w.awaitArrival()
	after := time.Since(w.healed)
	if !r.killed {
		w.settled()
	}
	w.stop()
	return w.verdict(r, after)
}

// strikes kills the sidecar n times at random moments, while the fault stands.
func (w *world) strikes(n int) {
	for range n {
		w.during(3 + w.rand.IntN(10))
		<-time.After(time.Duration(w.rand.IntN(40)) * time.Millisecond)
		w.kill()
		w.launch()
	}
}

// heal ends what the row began. Poison stays what it is.
func (w *world) heal(r row) {
	w.network.set(passing)
	if w.cloud.server == nil {
		w.cloud.start()
	}
	if r.poison == nil {
		w.cloud.answer(nil)
	}
	w.healed = time.Now()
}

// aUser is one of a thousand sessions.
func aUser(n int) visit {
	token := tokens.signed(uint64(n%1000)+1, 4)
	return visit{header: map[string][]string{"X-Openreplay-Sessiontoken": {token}}, token: token}
}

// fullDisk leaves no room where the sidecar keeps its state, and lets the server be away as well for a while.
func fullDisk(w *world) {
	file, err := os.Create(filepath.Join(w.dir, "state", "what others write"))
	if err != nil {
		w.t.Error(err)
		return
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if _, err := io.Copy(file, endless{}); !errors.Is(err, syscall.ENOSPC) {
		w.t.Errorf("the disk is not full: %v", err)
	}
	w.during(long / 2)
	w.network.set(refusing)
	w.during(long / 2)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func nothing(w *world) { w.during(long) }

// network lets connections fail.
func network(s state) func(*world) {
	return func(w *world) {
		w.network.set(s)
		w.during(long)
	}
}

// An answerFault makes what decides on calls, of which a killed sidecar may leave one behind beside the next life's.
type answerFault func(*dice) localcloud.Interposer

// dice are randomness for several goroutines.
type dice struct {
	mu   sync.Mutex
	rand *rand.Rand
}

func (w *world) dice() *dice { return &dice{rand: rand.New(rand.NewPCG(w.rand.Uint64(), 0))} }

func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rand.IntN(n)
}

// answers lets calls fail that arrive.
func answers(f answerFault) func(*world) {
	return func(w *world) {
		w.cloud.answer(f(w.dice()))
		w.during(long)
	}
}

type (
	request  = loggingpb.WriteLogEntriesRequest
	response = loggingpb.WriteLogEntriesResponse
	apply    = func() (*response, error)
)

func always(code codes.Code) answerFault {
	return func(*dice) localcloud.Interposer {
		return func(context.Context, *request, apply) (*response, error) { return nil, refuse(code) }
	}
}

func refuse(code codes.Code) error { return status.Error(code, "as the test wants it") }

func oneInTen(r *dice) localcloud.Interposer {
	return func(_ context.Context, _ *request, apply apply) (*response, error) {
		if r.IntN(10) == 0 {
			return apply()
		}
		return nil, refuse(codes.ResourceExhausted)
	}
}

// eachCode refuses each batch twice, with the next of all codes that say nothing against the entries. The second time the
// batch is written all the same.
func eachCode(*dice) localcloud.Interposer {
	all := []codes.Code{codes.Canceled, codes.Unknown, codes.DeadlineExceeded, codes.NotFound, codes.AlreadyExists,
		codes.PermissionDenied, codes.ResourceExhausted, codes.Aborted, codes.Unimplemented, codes.Internal,
		codes.Unavailable, codes.DataLoss, codes.Unauthenticated}
	var mu sync.Mutex
	tries, batches := map[string]int{}, map[string]int{}
	return func(_ context.Context, req *request, apply apply) (*response, error) {
		mu.Lock()
		id := req.Entries[0].InsertId
		if tries[id]++; tries[id] == 1 {
			batches[id] = len(batches)
		}
		try, code := tries[id], all[batches[id]%len(all)]
		mu.Unlock()
		if try == 1 {
			return nil, refuse(code)
		}
		answer, err := apply()
		if try == 2 {
			return nil, refuse(code)
		}
		return answer, err
	}
}

// lost takes what is sent, and has three in ten answers get lost.
func lost(r *dice) localcloud.Interposer {
	return func(_ context.Context, _ *request, apply apply) (*response, error) {
		answer, err := apply()
		if r.IntN(10) < 3 {
			return nil, refuse(codes.Unavailable)
		}
		return answer, err
	}
}

func slow(r *dice) localcloud.Interposer {
	return func(ctx context.Context, _ *request, apply apply) (*response, error) {
		select {
		case <-time.After(time.Duration(r.IntN(1500)) * time.Millisecond):
		case <-ctx.Done():
		}
		return apply()
	}
}

// poisonNamed refuses the poisoned entries by their index and writes the others.
func poisonNamed(*dice) localcloud.Interposer {
	return func(_ context.Context, req *request, apply apply) (*response, error) {
		refused := map[int32]*rpcstatus.Status{}
		var good []*loggingpb.LogEntry
		for i, e := range req.Entries {
			if isPoison(e) {
				refused[int32(i)] = status.New(codes.InvalidArgument, "poison").Proto()
				continue
			}
			good = append(good, e)
		}
		req.Entries = good
		answer, err := apply()
		if err != nil || len(refused) == 0 {
			return answer, err
		}
		named, err := status.New(codes.InvalidArgument, "poison").WithDetails(&loggingpb.WriteLogEntriesPartialErrors{LogEntryErrors: refused})
		if err != nil {
			return nil, err
		}
		return nil, named.Err()
	}
}

// poisonUnnamed refuses a request whole and does not say for which entry.
func poisonUnnamed(*dice) localcloud.Interposer {
	return func(_ context.Context, req *request, apply apply) (*response, error) {
		if slices.ContainsFunc(req.Entries, isPoison) {
			return nil, status.Error(codes.InvalidArgument, "poison")
		}
		return apply()
	}
}

func isPoison(e *loggingpb.LogEntry) bool {
	return strings.Contains(e.GetJsonPayload().GetFields()["message"].GetStringValue(), "happened, poison")
}

// serverKilled lets a stand-in of its own process take over with the same file, and kills it again and again.
func serverKilled(w *world) {
	w.cloud.stop()
	w.cloud.elsewhere.Store(true)
	for range 3 {
		p := stage.Start(w.t, "stand-in", exec.Command(w.program, "cloud", "--listen", w.cloud.address, "--file", w.cloud.file))
		w.during(15)
		p.Kill()
		w.during(5)
	}
}

// awaitArrival waits until all that can arrive is there.
func (w *world) awaitArrival() {
	w.t.Helper()
	w.await("all errors to arrive", func() bool {
		there := map[failure]bool{}
		for _, e := range w.cloud.entries() {
			there[errorOf(e)] = true
		}
		for _, which := range w.expected() {
			if !there[which] {
				return false
			}
		}
		return len(w.deadLetters()) >= len(w.poisoned())
	})
}

// expected are the errors that have to arrive.
func (w *world) expected() (all []failure) {
	w.app.mu.Lock()
	defer w.app.mu.Unlock()
	for which := range w.app.written {
		if !w.app.poison || !which.poisoned() {
			all = append(all, which)
		}
	}
	return all
}

func (w *world) poisoned() map[failure]bool {
	w.app.mu.Lock()
	defer w.app.mu.Unlock()
	all := map[failure]bool{}
	for which := range w.app.written {
		if w.app.poison && which.poisoned() {
			all[which] = true
		}
	}
	return all
}

// deadLetters are the errors in the file of those that can never arrive.
func (w *world) deadLetters() map[failure]bool {
	all := map[failure]bool{}
	file, err := os.Open(filepath.Join(w.dir, "state", "dead-letters.jsonl"))
	if err != nil {
		return all
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var letter struct {
			Reason string
			Entry  struct{ Message string }
		}
		if json.Unmarshal(lines.Bytes(), &letter) == nil && letter.Reason == "poison" {
			all[errorIn(letter.Entry.Message)] = true
		}
	}
	return all
}

// settled asks the metrics of a sidecar that was not killed: all that the app wrote was found, and nothing waits.
func (w *world) settled() {
	w.t.Helper()
	w.await("the metrics to settle", func() bool {
		m := w.metrics()
		return m["errors_waiting"] == 0 && m[`errors_found_total{from="record"}`] == float64(w.app.count()) &&
			m["errors_arrived_total"] == float64(w.app.count()-len(w.poisoned()))
	})
}

// verdict judges what the stand-in has in the end.
func (w *world) verdict(r row, after time.Duration) string {
	times := map[failure]int{}
	wrong := 0
	for _, e := range w.cloud.entries() {
		which := errorOf(e)
		times[which]++
		if v, ok := w.app.written[which]; !ok || e.Labels["openReplaySessionToken"] != v.token {
			wrong++
			w.t.Errorf("%v stands under the session %q, not %q", which, e.Labels["openReplaySessionToken"], v.token)
		}
	}
	lost, doubled := w.lost(times), 0
	for which, n := range times {
		if n > 1 {
			doubled++
			w.t.Errorf("%v is there %d times", which, n)
		}
	}
	changed := w.cloud.changed()
	if len(changed) > 0 {
		w.t.Errorf("sent in more than one form: %v", changed)
	}
	if diff := cmp.Diff(w.poisoned(), w.deadLetters()); diff != "" {
		w.t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | %d | %d | %.1f s |", r.title(), len(w.app.written), lost, doubled, wrong,
		len(changed), w.cloud.duplicates(), len(w.deadLetters()), w.kills, after.Seconds())
}

func (w *world) lost(there map[failure]int) (n int) {
	for _, which := range w.expected() {
		if there[which] == 0 {
			n++
			w.t.Errorf("%v is lost", which)
		}
	}
	return n
}
