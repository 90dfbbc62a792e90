//go:build !amd64

package record

func find(data []byte, from int, t *masks) int { return findPlain(data, from, t) }
