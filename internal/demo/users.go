package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A user is somebody with a browser. One whose page does not load the tracker has no session.
type user struct {
	name, token string
	client      *http.Client
}

// A step is one request and what it does to the app.
type step struct {
	user   user
	method string
	path   string
	order  int
	error  bool // the app logs an error for it
	status int  // as it was answered
}

// expected says whether an entry must arrive for the step: its user has a session and met an error.
func (s *step) expected() bool { return s.error && s.user.token != "" }

func newUsers() []user {
	users := []user{
		{name: "Ana", token: newToken(1)}, {name: "Ben", token: newToken(2)},
		{name: "Chloé", token: newToken(3)}, {name: "Dev", token: newToken(4)},
		{name: "a guest"}, {name: "a crawler"},
	}
	for i := range users {
		users[i].client = &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	}
	return users
}

// newToken makes a token of the shape that OpenReplay's has: session ID, delay and expiry in base 36, and a signature.
func newToken(n uint64) string {
	now := time.Now().UnixMilli()
	id := uint64(now-1_550_000_000_000)<<24 | n
	signature := make([]byte, 43)
	for i := range signature {
		const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
		at, _ := rand.Int(rand.Reader, big.NewInt(58))
		signature[i] = base58[at.Int64()]
	}
	return strings.Join([]string{strconv.FormatUint(id, 36), "3az", strconv.FormatInt(now+7_200_000, 36), string(signature)}, ".")
}

// actions are what each user does, in an order of their own.
var actions = []struct {
	method, action string
	error          bool
}{
	{"GET", "", false}, {"POST", "pay", true}, {"GET", "invoice", false}, {"POST", "ship", true},
	{"GET", "", false}, {"GET", "", false}, {"POST", "ship", true}, {"GET", "invoice", false},
}

func plan(users []user) []*step {
	var steps []*step
	order := 1000
	for _, u := range users {
		for _, i := range mathrand.Perm(len(actions)) {
			a := actions[i]
			order++
			path := strings.TrimSuffix(fmt.Sprintf("/orders/%d/%s", order, a.action), "/")
			steps = append(steps, &step{user: u, method: a.method, path: path, order: order, error: a.error})
		}
	}
	return steps
}

// drive lets all users work at the same time, each one step after another.
func drive(ctx context.Context, base string, users []user, steps []*step) error {
	var group sync.WaitGroup
	errs := make(chan error, len(steps))
	for _, u := range users {
		group.Go(func() {
			for _, s := range steps {
				if s.user.name == u.name {
					if err := s.do(ctx, base); err != nil {
						errs <- fmt.Errorf("%s %s: %w", s.method, s.path, err)
						return
					}
				}
			}
		})
	}
	group.Wait()
	close(errs)
	return <-errs
}

func (s *step) do(ctx context.Context, base string) error {
	request, err := http.NewRequestWithContext(ctx, s.method, base+s.path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "demo browser")
	if s.user.token != "" {
		request.Header.Set("X-OpenReplay-SessionToken", s.user.token)
	}
	answer, err := s.user.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	s.status = answer.StatusCode
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
