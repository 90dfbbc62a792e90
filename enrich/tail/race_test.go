//go:build race

package tail

// programs is how many the model plays of each seed: the race detector makes each of them ten times as slow.
const programs = "50"
