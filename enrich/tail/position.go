package tail

// Position is where a file generation is read from after a restart, outside of what is held and closed: the same that the
// checkpoint would say now. Of a file that is not followed any more nothing is read again, and Position is at no byte.
func (t *Tailer) Position(id string) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.files {
		if f.ID == id {
			position, _ := f.undecided()
			return position
		}
	}
	return 1<<63 - 1
}
