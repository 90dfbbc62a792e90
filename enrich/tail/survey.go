package tail

import (
	"os"
	"time"
)

// A Survey says where the log files were begun at one moment.
type Survey struct{ starts map[key]int64 }

// Look decides where the files are begun, before anything is written that matters, and keeps that as the first checkpoint: a
// life that is killed before it has read a byte leaves word to the next one, which would otherwise begin at the end of what
// was written since. Where there is a checkpoint nothing is to be decided. It waits no longer than the limit for the
// directories of the logs; the Survey, for Config, is for where no checkpoint can be kept. nil is one that was not done.
func Look(c Config, limit time.Duration) *Survey {
	if c.Checkpoint != "" && (exists(c.Checkpoint) || exists(previous(c.Checkpoint))) {
		return nil
	}
	c.Survey, c.Registerer, c.Spool, c.Bound = nil, nil, "", 0
	t, err := New(c)
	if err != nil {
		return nil // Run's own New says why
	}
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		t.look(time.Now())
	}()
	select {
	case <-looked:
	case <-time.After(limit):
		go func() {
			<-looked
			t.Close()
		}()
		return nil
	}
	defer t.Close()
	t.trySave()
	s := &Survey{map[key]int64{}}
	for _, f := range t.files {
		s.starts[f.key] = f.read
	}
	return s
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// start gives where a file was begun. One that was not there was empty.
func (s *Survey) start(e entry) int64 {
	if s == nil {
		return e.size
	}
	return min(s.starts[e.key], e.size)
}
