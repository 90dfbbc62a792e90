package main

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// slack is how much later than asked for the kernel may wake a thread that waits for a time: docs/decisions/0008-timer-slack.md.
const slack = 1_000_000 // nanoseconds

// slackened marks a program that was started by allowSlack, whatever became of the slack: it is not started again.
const slackened = "SIDECAR_SLACKENED"

// allowSlack starts this program anew in its own place, with timer slack: all threads have that of the first one, and by the
// time main runs, the runtime has threads already. Where it cannot be had, all goes on without.
func allowSlack() {
	if _, ok := os.LookupEnv(slackened); ok {
		os.Unsetenv(slackened)
		return
	}
	program, err := os.Executable() // by its path, for the process is named after that
	if err != nil {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || before >= slack || unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0) != nil {
		return
	}
	syscall.Exec(program, os.Args, append(os.Environ(), slackened+"=1"))
	unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(before), 0, 0, 0)
}
