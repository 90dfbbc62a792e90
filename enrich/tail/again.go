package tail

// kept is what a checkpoint on disk says, by the ID of the generation.
type kept map[string]saved

// reads says whether a life that begins with this checkpoint reads the byte at the offset.
func (k kept) reads(id string, offset int64) bool {
	s, ok := k[id]
	if !ok || offset >= s.Position {
		return ok
	}
	for _, h := range s.Held {
		if h[0] <= offset && offset < h[1] {
			return true
		}
	}
	return false
}

// ReadAgain tells which bytes come again should this life be killed: as the checkpoint on disk says, and not what has been
// decided since, and as the one before it says too, which takes its place if it is damaged. Of a generation that is not
// followed any more nothing comes again.
func (t *Tailer) ReadAgain() func(id string, offset int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, before := t.kept, t.keptBefore
	unkept := map[string]bool{}
	for _, f := range t.files {
		if _, ok := now[f.ID]; !ok {
			unkept[f.ID] = true
		}
	}
	return func(id string, offset int64) bool {
		return unkept[id] || now.reads(id, offset) || before.reads(id, offset)
	}
}
