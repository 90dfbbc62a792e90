package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// unmapProgram lets go of the program's own pages, nearly all of which are in memory for having stood near to what the start
// needed. They are the kernel's to keep or to drop then; what is used again is mapped again, with a minor fault for each 64 KiB.
// Only what is as it stands in the file is let go of: a position-independent build has pages that its loader wrote to. Where
// this cannot be told, all stays as it is. docs/decisions/0009-program-pages.md.
func unmapProgram() {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	var from, to uintptr
	ours := false // the lines are of a mapping of the program that nobody may write to
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasSuffix(line, " "+program):
			var access string
			n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &access)
			ours = n == 3 && !strings.Contains(access, "w")
		case ours && strings.HasPrefix(line, "Anonymous:"):
			if strings.HasSuffix(line, " 0 kB") {
				unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
			}
			ours = false
		}
	}
}
