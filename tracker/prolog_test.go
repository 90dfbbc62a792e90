package tracker

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf16"
)

const mark = "<SCRIPT>"

// put gives the document with the script in it, fed in pieces of n bytes.
func put(document string, n int, charset string) (string, bool) {
	p := newProlog([]byte(mark), charset)
	var out bytes.Buffer
	for b := []byte(document); len(b) > 0; {
		size := min(n, len(b))
		out.Write(p.feed(b[:size:size]))
		b = b[size:]
	}
	if !p.over {
		out.Write(p.rest())
	}
	return out.String(), p.found
}

// The | stands where the script belongs.
var documents = []string{
	"<!DOCTYPE html><html><head>|<title>x</title>",
	"<HTML LANG=en><HEAD profile='a>b'>|<TITLE>",
	"<html data-x=\"<head>\"><head>|",
	"<html lang=it's><head a=b\">|<title>",
	"<html\n\tlang = 'de'\n><head/>|<p>",
	"\r\n  <!doctype html>\r\n<head >|\r\n<meta charset=utf-8>",
	"\ufeff<!doctype html><head>|",
	"<!-- <head> --><head>|<title>",
	"<!-- a -- b - > --><head>|",
	"<!--><head>|--><title>",
	"<!---><head>|",
	"<!-- --!><head>|",
	"<!><head>|",
	"<?xml version=\"1.0\"?><!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0\"><html><head>|",
	"<!doctype html>|<title>a page that leaves head out</title>",
	"<html>|<body><p>",
	"|<header>not a head</header>",
	"<html>|<headline>",
	"|<p>text",
	"|just text <head>",
	"|<frameset>",
	"|</head><head>",
	"|<1>",
	"|<é>",
	"|{\"an\": \"answer that says it is HTML\"}",
	"|<htmlx><head>",
}

func TestThePlaceForTheScript(t *testing.T) {
	for _, d := range documents {
		plain := strings.Replace(d, "|", "", 1)
		want := strings.Replace(d, "|", mark, 1)
		for _, n := range []int{1, 2, 3, 7, 1 << 20} {
			if got, found := put(plain, n, ""); got != want || !found {
				t.Errorf("in pieces of %d: %q, want %q", n, got, want)
			}
		}
	}
	for _, d := range []string{"", " \n", "<!-- a comment without an end <head>", "<!doctype html", "<he", "<!-", "<html lang='", "\xef\xbb", "<!--" + strings.Repeat("x", maxProlog) + "--><head>"} {
		for _, n := range []int{1, 1 << 20} {
			if got, found := put(d, n, ""); got != d || found {
				t.Errorf("%.40q became %.80q", d, got)
			}
		}
	}
}

func TestThePlaceInUTF16(t *testing.T) {
	wide := func(s string, big bool) string {
		var b []byte
		for _, c := range utf16.Encode([]rune(s)) {
			if big {
				b = append(b, byte(c>>8), byte(c))
			} else {
				b = append(b, byte(c), byte(c>>8))
			}
		}
		return string(b)
	}
	for _, c := range []struct {
		charset string
		mark    string
		big     bool
	}{{"utf-16le", "", false}, {"UTF-16BE", "", true}, {"", "\ufeff", false}, {"iso-8859-1", "\ufeff", true}} {
		for _, d := range documents {
			d = c.mark + strings.TrimPrefix(d, "\ufeff")
			plain := wide(strings.Replace(d, "|", "", 1), c.big)
			want := wide(strings.Replace(d, "|", mark, 1), c.big)
			for _, n := range []int{1, 3, 1 << 20} {
				if got, found := put(plain, n, c.charset); got != want || !found {
					t.Errorf("%s, in pieces of %d: %q, want %q", c.charset, n, got, want)
				}
			}
		}
	}
}

// What is held back is the beginning of a tag at most.
func TestNothingIsHeldBack(t *testing.T) {
	for _, d := range documents {
		p := newProlog([]byte(mark), "")
		d = strings.Replace(d, "|", "", 1)
		fed, out := 0, 0
		for i := range d {
			out += len(p.feed([]byte(d[i : i+1])))
			if fed++; fed-out > len("<html") {
				t.Fatalf("%q: %d bytes are held after %q", d, fed-out, d[:fed])
			}
		}
	}
}

func FuzzProlog(f *testing.F) {
	for _, d := range documents {
		f.Add(d, 3, "")
	}
	f.Add("\xff\xfe<\x00h\x00", 1, "utf-16")
	f.Fuzz(func(t *testing.T, d string, n int, charset string) {
		got, found := put(d, max(n, 1), charset)
		whole, _ := put(d, len(d)+1, charset)
		if got != whole {
			t.Errorf("%q in pieces of %d: %q, whole: %q", d, n, got, whole)
		}
		if !found && got != d {
			t.Errorf("%q became %q", d, got)
		}
	})
}
