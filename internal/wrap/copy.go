package wrap

import (
	"fmt"
	"os"
)

// maxCopy is the most bytes of a copy before it becomes NAME.1, and a new one begins: twice that is kept of each stream.
const maxCopy = 8 << 20

// A copyFile is a log of what went by. Nothing that goes wrong with it is anybody's concern but its own.
type copyFile struct {
	path    string
	file    *os.File
	size    int64
	missing int64 // bytes that could not be written
	max     int64 // 0: maxCopy
}

func (c *copyFile) write(b []byte) {
	if c.file == nil && !c.open() {
		c.missing += int64(len(b))
		return
	}
	if c.missing > 0 {
		note := fmt.Sprintf("[sidecar exec: %d bytes are missing here]\n", c.missing)
		if n, err := c.file.WriteString(note); err == nil {
			c.size, c.missing = c.size+int64(n), 0
		}
	}
	n, err := c.file.Write(b)
	c.size += int64(n)
	if err != nil {
		c.missing += int64(len(b) - n)
	}
	if limit := c.limit(); c.size >= limit && endsLine(b) || c.size >= 2*limit {
		c.rotate()
	}
}

func (c *copyFile) limit() int64 {
	if c.max != 0 {
		return c.max
	}
	return maxCopy
}

// endsLine: a rotation does not cut a line, unless there is no end of it.
func endsLine(b []byte) bool { return len(b) > 0 && b[len(b)-1] == '\n' }

func (c *copyFile) open() bool {
	file, err := os.OpenFile(c.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return false
	}
	c.file = file
	if info, err := file.Stat(); err == nil {
		c.size = info.Size()
	}
	return true
}

func (c *copyFile) rotate() {
	c.close()
	os.Rename(c.path, c.path+".1")
	c.size = 0
}

func (c *copyFile) close() {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}
