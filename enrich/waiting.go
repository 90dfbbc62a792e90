package enrich

import (
	"context"
	"time"
)

// await keeps a candidate until Run looks at it again: not before the next tick, or a turn could begin anew for ever.
func (j *Joiner) await(c *candidate, now time.Time) {
	if soonest := now.Add(tick); c.next.Before(soonest) {
		c.next = soonest
	}
	j.waiting = append(j.waiting, c)
	j.lookAt(now.Add(tick))
}

// lookAt has Run look at t, or sooner where it was going to anyway. A file that is written all the time moves the silence
// on that it waits for, so most calls change nothing.
func (j *Joiner) lookAt(t time.Time) {
	if !j.next.IsZero() && !t.Before(j.next) {
		return
	}
	j.next = t
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Run lets time pass: silence completes records, and what waits is decided. It ends when ctx is done.
func (j *Joiner) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-j.wake:
		case <-timer.C:
			if err := j.pass(ctx, time.Now(), turn); err != nil {
				return err
			}
		}
		if next := j.nextLook(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

func (j *Joiner) nextLook() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.next
}

// A turn bounds how long what waits keeps files from being read: when bytes arrive is evidence.
const turn = 4 * time.Millisecond

// pass does what is due at now, and says in next when something is due again. After turn, of real time, the rest of what waits is left
// to the next pass, which comes at once; 0 is no bound.
func (j *Joiner) pass(ctx context.Context, now time.Time, turn time.Duration) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begin(now)
	j.next = time.Time{}
	for _, s := range j.files {
		if s.due.IsZero() {
			continue
		}
		if now.Before(s.due) {
			j.lookAt(s.due)
			continue
		}
		s.cut.Flush(s.take)
		if err := j.settle(ctx, s, 0, now); err != nil {
			return err
		}
	}
	all, err := j.decideWaiting(ctx, now, turn)
	if err != nil {
		return err
	}
	if err := j.searchLater(ctx, now, false); err != nil {
		return err
	}
	if err := j.searchSilent(ctx, now, false); err != nil {
		return err
	}
	j.metrics.waiting.Set(float64(len(j.waiting)))
	switch {
	case !all:
		j.lookAt(now)
	case len(j.waiting)+len(j.later) > 0:
		j.lookAt(now.Add(tick))
	case j.config.SilentFailures:
		j.lookAt(now.Add(searching))
	}
	return nil
}

func (j *Joiner) decideWaiting(ctx context.Context, now time.Time, turn time.Duration) (all bool, err error) {
	waiting, began := j.waiting, time.Now()
	j.waiting = nil
	for _, c := range waiting { // all of them first, so that each kind is shared out once
		if c.infers(now) && c.observed.ready(now) {
			j.show(c, now)
		}
		if turn > 0 && time.Since(began) > turn/2 {
			break
		}
	}
	for i, c := range waiting {
		if turn > 0 && time.Since(began) > turn {
			j.waiting = append(waiting[i:len(waiting):len(waiting)], j.waiting...)
			return false, nil
		}
		if now.Before(c.next) {
			j.waiting = append(j.waiting, c)
			continue
		}
		j.lookAgain(c)
		if err := j.proceed(ctx, c, now); err != nil {
			j.waiting = append(j.waiting, waiting[i:]...)
			return false, err
		}
	}
	return true, nil
}

// lookAgain takes in what was learned since: the exchange's session, its status, its end.
func (j *Joiner) lookAgain(c *candidate) {
	if x := c.match.exchange; x != nil {
		c.match.exchange = j.now(x)
		return
	}
	if c.step == 0 {
		c.match = j.exact(c.source, c.finding.Record)
	}
}

// now gives the exchange as it is by now.
func (j *Joiner) now(x *Exchange) *Exchange {
	j.config.Exchanges.ByID(x.ID, func(found Exchange) bool {
		if found.Ref == x.Ref && found.Begin.Equal(x.Begin) {
			x = &found
			return false
		}
		return true
	})
	return x
}
