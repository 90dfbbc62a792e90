//go:build faults

package main

import (
	"os"
	"strings"
	"sync/atomic"
)

var faultsLeft atomic.Int64

// fault panics, three times in all, in the part that the environment's SIDECAR_FAULT names.
func fault(part string) {
	if strings.Contains(os.Getenv("SIDECAR_FAULT"), part) && faultsLeft.Add(1) <= 3 {
		panic("a fault was asked for in " + part)
	}
}
