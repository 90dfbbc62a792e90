package bridge

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// patience is how long a search waits for its turn within the quota.
	patience = 5 * time.Second
	// pause is how long nothing is asked after Cloud Logging has said that the quota is used up. It counts by the minute,
	// and whoever else reads the project's logs shares it.
	pause = 15 * time.Second
)

// A guard keeps one project's calls within Google's quota of reads.
type guard struct {
	limiter *rate.Limiter

	mu    sync.Mutex
	until time.Time // of the pause
}

// newGuard lets through at most so many calls in any minute: half of them at once, the others spread. 0: all.
func newGuard(perMinute int) *guard {
	if perMinute <= 0 {
		return &guard{limiter: rate.NewLimiter(rate.Inf, 0)}
	}
	half := max(perMinute/2, 1)
	return &guard{limiter: rate.NewLimiter(rate.Every(time.Minute/time.Duration(half)), half)}
}

// free takes a call's turn if there is one at once.
func (g *guard) free() bool { return g.paused() == 0 && g.limiter.Allow() }

// wait takes a call's turn, or says that there is none soon.
func (g *guard) wait(ctx context.Context) error {
	if left := g.paused(); left > 0 {
		return quotaFailure(left)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := g.limiter.Wait(ctx); err != nil {
		return quotaFailure(patience)
	}
	return nil
}

// refused notes that Cloud Logging has refused a call for its quota.
func (g *guard) refused() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = time.Now().Add(pause)
}

func (g *guard) paused() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(time.Until(g.until), 0)
}

// quotaFailure has the status that Elastic's clients do not answer with three more calls at once, as they do with 502,
// 503 and 504.
func quotaFailure(wait time.Duration) *failure {
	return &failure{status: http.StatusTooManyRequests, kind: "es_rejected_execution_exception", retryAfter: wait,
		reason: "Cloud Logging's quota of reads is used up for this minute; ask again in a minute"}
}
