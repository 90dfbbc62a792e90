//go:build !amd64

package record

func find(data []byte, from int) int { return findPlain(data, from) }
