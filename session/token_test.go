package session

import (
	"testing"
	"time"
)

func TestParseID(t *testing.T) {
	tests := []struct {
		name, token string
		want        ID
		ok          bool
	}{
		{"four parts", "jw4wdfpgqhoj.3az.lrraavgc.ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4sndRrpZevt3q", 2618307011354435587, true},
		{"a negative delay", "jw4wdfpgqhoj.-3az.lrraavgc.ovJ2jwk7BEAZ", 2618307011354435587, true},
		{"three parts, as of 2022", "jw4wdfpgqhoj.lrraavgc.ovJ2jwk7BEAZ", 2618307011354435587, true},
		{"no signature", "jw4wdfpgqhoj.3az.lrraavgc.", 0, false},
		{"a number alone", "jw4wdfpgqhoj", 0, false},
		{"not base 36", "jw4w_fpgqhoj.3az.lrraavgc.x", 0, false},
		{"an ID beyond 64 bits", "zzzzzzzzzzzzzzzz.3az.lrraavgc.x", 0, false},
		{"empty", "", 0, false},
	}
	for _, test := range tests {
		if got, ok := ParseID(test.token); got != test.want || ok != test.ok {
			t.Errorf("%s: ParseID(%q) = %d, %v, want %d, %v", test.name, test.token, got, ok, test.want, test.ok)
		}
	}
}

func TestStart(t *testing.T) {
	want := time.Date(2024, 1, 24, 2, 27, 39, 324e6, time.UTC)
	if got := ID(2618307011354435587).Start(); !got.Equal(want) {
		t.Errorf("Start() = %v, want %v", got, want)
	}
}
