//go:build e2e

package apps

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// What browsers send and nobody may read in an entry.
const (
	password = "correct-horse-7Q"
	bearer   = "s3cr3t-bearer-9X"
	cookie   = "s3cr3t-cookie-5T"
)

// A user is one session, in a browser with cookies of its own; the one without a token is everybody else.
type user struct {
	token  string
	client *http.Client
}

// A request is one of the load. Its word goes into the body, which the sidecar does not read, and the app puts it into the
// message of what it logs: so we know whose it is, and the sidecar does not.
type request struct {
	phase  string // "c1": one request at a time; "c8": eight
	method string
	target string
	kind   string // how it fails; "" if it does not
	word   string
	id     string
	user   *user
	status int
}

// users gives thirty with a session and one without.
func users(random *rand.Rand) []*user {
	all := make([]*user, 31)
	for i := range all {
		jar, _ := cookiejar.New(nil) // never fails without options
		all[i] = &user{client: &http.Client{Jar: jar}}
		if i < 30 {
			all[i].token = token(random)
		}
	}
	return all
}

// token has the shape of a tracker's: base36(ID) "." base36(delay) "." base36(expiry) "." base58(signature).
func token(random *rand.Rand) string {
	now := time.Now().UnixMilli()
	id := uint64(now-1_550_000_000_000)<<24 | uint64(random.Uint32N(1<<24))
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, random.Uint64()))
	return strings.Join([]string{strconv.FormatUint(id, 36), strconv.FormatInt(random.Int64N(9000), 36),
		strconv.FormatInt(now+7_200_000, 36), base58(sum[:])}, ".")
}

func base58(b []byte) string {
	const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	n, base, digit := new(big.Int).SetBytes(b), big.NewInt(58), new(big.Int)
	var text []byte
	for n.Sign() > 0 {
		n.DivMod(n, base, digit)
		text = append(text, digits[digit.Int64()])
	}
	return string(text)
}

// draw makes n requests: two in three without failing, seven in ten of somebody with a session.
func draw(s *stack, n int, random *rand.Rand) []*request {
	who, fails := users(random), strings.Fields(s.fails)
	all := make([]*request, n)
	for i := range all {
		r := &request{phase: "c8", method: "POST", word: word(random), user: who[30]}
		id, _ := uuid.NewRandomFromReader(bytesOf{random}) // never fails: bytesOf does not
		r.id = id.String()
		if i < n/3 {
			r.phase = "c1"
		}
		if random.IntN(10) < 7 {
			r.user = who[random.IntN(30)]
		}
		switch chance := random.IntN(100); {
		case chance < 34:
			r.kind = fails[random.IntN(len(fails))]
		case chance < 40:
			r.kind = "warn"
		case chance < 65:
			r.method = "GET"
		}
		r.target = fmt.Sprintf("%s%s?page=%d&password=%s", s.prefix, path(r, random), random.IntN(9), password)
		all[i] = r
	}
	return all
}

// word is random enough to be found. It is short and has no digit, or it could count as an ID when an error page shows it.
func word(random *rand.Rand) string {
	w := []byte("Kabcdefghi")
	for i := range w[1:] {
		w[i+1] = byte('A' + random.IntN(26))
	}
	return string(w)
}

// path is where a request of that kind goes. No path fails always, none fails in one way only.
func path(r *request, random *rand.Rand) string {
	n := 1 + random.IntN(40)
	switch r.kind {
	case "boom", "brief":
		return fmt.Sprintf("/orders/%d", n)
	case "nested":
		return "/checkout"
	case "type", "warn":
		return fmt.Sprintf("/cart/%d", n)
	case "sql":
		return "/search"
	case "handled":
		return fmt.Sprintf("/invoices/%d", n)
	case "late":
		return "/mail"
	}
	if r.method == "GET" && random.IntN(6) == 0 {
		return fmt.Sprintf("/old/page-%d.html", n)
	}
	return [...]string{fmt.Sprintf("/orders/%d", n), fmt.Sprintf("/cart/%d", n), fmt.Sprintf("/invoices/%d", n), "/checkout", "/search", "/mail"}[random.IntN(6)]
}

// bytesOf makes a random source a reader.
type bytesOf struct{ *rand.Rand }

func (b bytesOf) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b.Uint32())
	}
	return len(p), nil
}

// drive sends the requests of a phase, so many at a time.
func drive(t *testing.T, front, phase string, all []*request, clients int) {
	t.Helper()
	next := make(chan *request)
	var browsers sync.WaitGroup
	for range clients {
		browsers.Go(func() {
			for r := range next {
				if err := r.send(front); err != nil {
					t.Errorf("%s %s: %v", r.method, r.target, err)
				}
			}
		})
	}
	for _, r := range all {
		if r.phase == phase {
			next <- r
		}
	}
	close(next)
	browsers.Wait()
}

func (r *request) send(front string) error {
	var body io.Reader
	if r.method == "POST" {
		body = strings.NewReader(url.Values{"kind": {r.kind}, "ref": {r.word}}.Encode())
	}
	request, err := http.NewRequest(r.method, "http://"+front+r.target, body)
	if err != nil {
		return err
	}
	request.Header = http.Header{
		"Accept":          {"text/html,application/json;q=0.9,*/*;q=0.8"},
		"Accept-Language": {"en-GB,en;q=0.7"},
		"Authorization":   {"Bearer " + bearer},
		"Content-Type":    {"application/x-www-form-urlencoded"},
		"Cookie":          {"remember=" + cookie},
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		"X-Request-Id":    {r.id},
	}
	if r.user.token != "" {
		request.Header.Set("X-OpenReplay-SessionToken", r.user.token)
	}
	answer, err := r.user.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	r.status = answer.StatusCode
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
