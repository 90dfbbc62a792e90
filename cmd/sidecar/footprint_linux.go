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
	ours := false
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		line := lines.Text()
		var begin, end uintptr
		var access string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &begin, &end, &access); n == 3 {
			from, to = begin, end
			ours = strings.HasSuffix(line, " "+program) && !strings.Contains(access, "w")
		}
		if ours && strings.HasPrefix(line, "Anonymous:") && strings.HasSuffix(line, " 0 kB") {
			unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}
