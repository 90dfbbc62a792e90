//go:build !race

package tail

// programs is how many the model plays of each seed.
const programs = "1000"
