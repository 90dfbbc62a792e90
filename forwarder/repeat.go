package forwarder

import (
	"context"
	"strings"
	"time"

	"github.com/openreplay/log-sidecar/enrich"
)

// repeatTime is how long findings wait for their repeats.
const repeatTime = time.Second

// A repeatKey is what two findings of one error in one session have in common.
type repeatKey struct {
	session uint64
	token   string
	path    string
	text    string
}

// foldRepeats waits for what else is found within a second, and adds to each finding those that say the same in the same
// session.
func (f *Forwarder) foldRepeats(ctx context.Context, found []*enrich.Finding) []*enrich.Finding {
	if !f.config.Repeats || !sleep(ctx, repeatTime) {
		return found
	}
	now, cancel := context.WithCancel(ctx)
	cancel()
	found = append(found, f.queue.take(now, batchEntries, batchBytes)...)
	first := map[repeatKey]*enrich.Finding{}
	kept := found[:0]
	for _, finding := range found {
		key, ok := keyOf(finding)
		if to := first[key]; ok && to != nil {
			to.Repeats = append(to.Repeats, finding)
			continue
		}
		first[key] = finding
		kept = append(kept, finding)
	}
	return kept
}

// keyOf leaves out of the text what differs each time by its nature: stamp, level, and the request's own IDs.
func keyOf(finding *enrich.Finding) (key repeatKey, ok bool) {
	x := finding.Exchange
	if x == nil || !x.HasSession() {
		return key, false
	}
	text := finding.Record.Message()
	for _, id := range append([]string{x.ID}, x.IDs...) {
		if id != "" {
			text = strings.ReplaceAll(text, id, "")
		}
	}
	return repeatKey{x.SessionID, x.Session, finding.Path, text}, true
}
