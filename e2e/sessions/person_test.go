//go:build e2e

package sessions

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

type browser struct{ ctx context.Context }

func startBrowser(t *testing.T, chromium string) *browser {
	t.Helper()
	flags := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-features", "BackForwardCache"))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return &browser{ctx}
}

// A failure is an error that a person met.
type failure struct {
	person, kind, word string
	token              string // of the session that the tab was in
}

// A person has a profile of the browser for himself: no cookie and no storage is shared.
type person struct {
	t        *testing.T
	name     string
	front    string
	tab      context.Context
	shots    string
	failures []failure
}

func newPerson(t *testing.T, b *browser, s *stage.Stage, name string) *person {
	tab, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("open a profile: %v", err)
	}
	tab, cancel = context.WithTimeout(tab, 3*time.Minute)
	t.Cleanup(cancel)
	return &person{t: t, name: name, front: "http://" + s.Front, tab: tab, shots: screenshots(t)}
}

// walk is a visit: errors before the log-in, after it, and after the log-out, in everything that a page can ask for.
func (p *person) walk(own bool) {
	p.does("open the shop", chromedp.Navigate(p.front+"/"))
	p.settles(own)
	p.form("order")
	p.settles(own)
	p.does("log in", chromedp.SendKeys("#login input", p.name), follow(chromedp.Click("#login button"), 200), chromedp.WaitVisible("#user"))
	p.settles(own)
	p.form("order")
	p.settles(own)
	p.form("report")
	p.settles(own)
	p.image()
	p.call()
	p.does("log out", follow(chromedp.Click("#logout button"), 200), chromedp.WaitVisible("#login"))
	p.settles(own)
	p.form("order")
	p.settles(own)
	p.call()
}

func (p *person) does(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if p.t.Failed() {
		return
	}
	if err := chromedp.Do(p.tab, actions...); err != nil {
		title, _ := chromedp.Run(p.tab, chromedp.Title())
		p.t.Errorf("%s: %s: %v (the page is %q)", p.name, what, err, title)
		p.shoot("failed")
	}
}

// follow does what leads to another page, and wants its status.
func follow(action chromedp.Action[chromedp.Void], status int64) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		answer, err := chromedp.RunResponse(ctx, action)
		if err == nil && answer.Status != status {
			err = fmt.Errorf("the page has status %d, want %d", answer.Status, status)
		}
		return err
	})
}

// settles waits until the page's tracker runs.
func (p *person) settles(own bool) {
	runs := `window.ready === true`
	if !own {
		runs = `sessionStorage.__openreplay_token !== undefined`
	}
	p.does("wait for the tracker", chromedp.Poll[chromedp.Void](runs, chromedp.WithPollingTimeout(20*time.Second)))
}

var words atomic.Int64

// fails notes what is about to fail, and gives it a word.
func (p *person) fails(kind string) (word string) {
	n := words.Add(1)
	word = fmt.Sprintf("KQWX%c%c%cJVB", 'A'+rune(n/676%26), 'A'+rune(n/26%26), 'A'+rune(n%26))
	token, err := chromedp.Run(p.tab, chromedp.Evaluate[string](`sessionStorage.__openreplay_token || ""`))
	if err != nil {
		p.t.Errorf("%s: read the token: %v", p.name, err)
	}
	token, _, _ = strings.Cut(token, "_$_")
	if token == "" {
		p.t.Errorf("%s: the tab has no session", p.name)
	}
	p.failures = append(p.failures, failure{p.name, kind, word, token})
	return word
}

// form sends a form whose answer is an error, looks at it, and goes back.
func (p *person) form(id string) {
	word := p.fails(id)
	p.does("send the form "+id, chromedp.SendKeys("#"+id+" input", word), follow(chromedp.Click("#"+id+" button"), 500))
	p.shoot(word + "-" + id)
	p.does("go back", chromedp.NavigateBack(), chromedp.WaitVisible("#order"))
}

func (p *person) image() {
	word := p.fails("image")
	p.does("show an image", chromedp.Evaluate[chromedp.Void](`new Promise(done => {
		const image = new Image()
		image.onload = image.onerror = () => done(true)
		image.src = "/chart?ref=`+word+`"
		document.body.append(image)
	})`, chromedp.EvalAwaitPromise))
}

func (p *person) call() {
	word := p.fails("call")
	p.does("call", chromedp.Evaluate[chromedp.Void](`fetch("/chart?ref=`+word+`").then(answer => answer.status)`, chromedp.EvalAwaitPromise))
}

func (p *person) shoot(name string) {
	png, err := chromedp.Run(p.tab, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Errorf("%s: take a screenshot: %v", p.name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(p.shots, p.name+"-"+name+".png"), png, 0o644); err != nil {
		p.t.Error(err)
	}
}
