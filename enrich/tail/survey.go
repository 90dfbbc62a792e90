package tail

import "time"

// A Survey says how long the log files were at one moment.
type Survey struct{ sizes map[key]int64 }

// Look surveys the files that the globs match. It takes no longer than the limit: nil is a survey that was not done.
func Look(globs []string, limit time.Duration) *Survey {
	done := make(chan *Survey, 1)
	go func() {
		s := &Survey{map[key]int64{}}
		v := newView(map[string]*listing{})
		for _, g := range globs {
			if g == Standard {
				continue
			}
			v.expand(g, func(path string) {
				if i, ok := v.stat(path); ok && i.regular {
					s.sizes[i.key] = i.size
				}
			}, func(string) {})
		}
		done <- s
	}()
	select {
	case s := <-done:
		return s
	case <-time.After(limit):
		return nil
	}
}

// end gives how long a file was. One that was not there was empty.
func (s *Survey) end(e entry) int64 {
	if s == nil {
		return e.size
	}
	return min(s.sizes[e.key], e.size)
}
