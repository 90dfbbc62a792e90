package proxy

import (
	"bytes"
	"strings"
	"testing"
)

func TestFramesEnd(t *testing.T) {
	long := "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("l", 65536)
	middle := "\x82\x7e\x00\x80" + strings.Repeat("m", 128)
	stream := "\x81\x02hi" + "\x89\x00" + middle + "\x81\x83mask123" + long
	f := &frames{}
	var ends []int
	for i := range len(stream) { // byte by byte
		f.pass([]byte{stream[i]}, false)
		if f.between() {
			ends = append(ends, i+1)
		}
	}
	want := []int{4, 6, 6 + len(middle), 6 + len(middle) + 9, len(stream)}
	if len(ends) != len(want) {
		t.Fatalf("ends are %v, not %v", ends, want)
	}
	for i := range want {
		if ends[i] != want[i] {
			t.Fatalf("ends are %v, not %v", ends, want)
		}
	}
}

func TestFramesStopAtTheNextEnd(t *testing.T) {
	f := &frames{}
	if n := f.pass([]byte("\x81\x04ab"), false); n != 4 || f.between() {
		t.Errorf("went to %d", n)
	}
	if n := f.pass([]byte("cd\x81\x01x"), true); n != 2 || !f.between() {
		t.Errorf("went to %d", n)
	}
	if n := f.pass([]byte("\x81\x01x"), true); n != 0 {
		t.Errorf("went to %d", n)
	}
}

// However the stream is cut, its frames end at the same places.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x81\x02hi\x89\x00\x82\x7e\x00\x01x"), 3)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		whole, cutUp := &frames{}, &frames{}
		cut = min(max(cut, 0), len(stream))
		a := whole.pass(stream, false)
		b := cutUp.pass(stream[:cut], false)
		b += cutUp.pass(stream[cut:], false)
		if a != b || a != len(stream) || *whole != *cutUp && !bytes.Equal(whole.head[:whole.got], cutUp.head[:cutUp.got]) ||
			whole.left != cutUp.left || whole.got != cutUp.got {
			t.Errorf("cut at %d: %+v, %+v", cut, whole, cutUp)
		}
	})
}
