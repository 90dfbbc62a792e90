package bridge

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// A Source is what a key may read: some logs of one project.
type Source struct {
	Project string
	Logs    string // their IDs in order, joined by commas, so that equal sources are ==
}

// A key is one line of the keys file. Its secret is kept as a digest only.
type key struct {
	id     string
	secret [sha256.Size]byte
	source Source
	pace   *rate.Limiter
}

// A key may ask this often, a second and at once: far more than people do. It stops a client that has run wild; what
// searches cost at Google is the guard's to bound.
const (
	keyRate  = 1000
	keyBurst = 10_000
)

// What a name may consist of, after Google's rules for project and log IDs. None of these characters ends a quoted
// string, so that a name cannot leave its place in a filter.
var (
	idShape      = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)
	projectShape = regexp.MustCompile(`^[a-z0-9][a-z0-9.:-]{0,127}$`)
	logShape     = regexp.MustCompile(`^[A-Za-z0-9/_.-]{1,511}$`)
)

// weakSecret is the number of characters below which a secret is warned of.
const weakSecret = 20

// parseKeys reads lines of ID SECRET PROJECT LOG[,LOG...]; # begins a comment. Lines that are wrong are left out and
// reported by their number, never by their text: it may be a secret.
func parseKeys(text []byte) (map[string]*key, error) {
	keys := map[string]*key{}
	var wrong []error
	for i, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		k, err := parseKey(fields)
		if err == nil && keys[k.id] != nil {
			err = errors.New("the ID stands in an earlier line too")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %w", i+1, err))
			continue
		}
		keys[k.id] = k
	}
	return keys, errors.Join(wrong...)
}

func parseKey(fields []string) (*key, error) {
	if len(fields) != 4 {
		return nil, fmt.Errorf("has %d words, not the four ID SECRET PROJECT LOG[,LOG...]", len(fields))
	}
	source, err := newSource(fields[2], strings.Split(fields[3], ","))
	if err != nil {
		return nil, err
	}
	if !idShape.MatchString(fields[0]) {
		return nil, errors.New("the ID has other characters than letters, digits and . _ ~ -")
	}
	return &key{id: fields[0], secret: sha256.Sum256([]byte(fields[1])), source: source, pace: rate.NewLimiter(keyRate, keyBurst)}, nil
}

func newSource(project string, logs []string) (Source, error) {
	if !projectShape.MatchString(project) {
		return Source{}, errors.New("the third word is not the ID of a Google Cloud project")
	}
	for _, log := range logs {
		if !logShape.MatchString(log) {
			return Source{}, errors.New("the fourth word is not a list of log IDs, joined by commas, without projects/P/logs/")
		}
	}
	logs = slices.Sorted(slices.Values(logs))
	return Source{project, strings.Join(slices.Compact(logs), ",")}, nil
}

// NewKey makes the line of a new key. Its secret has 256 random bits.
func NewKey(id, project string, logs ...string) (string, error) {
	secret := rand.Text() + rand.Text()
	line := strings.Join([]string{id, secret, project, strings.Join(logs, ",")}, " ")
	_, err := parseKey(strings.Fields(line))
	return line, err
}

// Keys are those of a file, which is read again when it changes. They are safe for use by several goroutines.
type Keys struct {
	path   string
	log    *zap.Logger
	nobody key // takes as long to compare with as a real one

	mu     sync.Mutex
	looked time.Time
	text   []byte
	keys   map[string]*key
	wrong  error
}

// lookAgain is how long a revoked key may go on.
const lookAgain = time.Second

// LoadKeys reads the file. At the start a single wrong line is an error; later on wrong lines are logged and the others
// hold, so that a slip of the pen neither locks everybody out nor keeps a revoked key alive.
func LoadKeys(path string, log *zap.Logger) (*Keys, error) {
	k := &Keys{path: path, log: log}
	rand.Read(k.nobody.secret[:])
	k.refresh()
	switch {
	case k.wrong != nil:
		return nil, fmt.Errorf("keys file %s: %w", path, k.wrong)
	case len(k.keys) == 0:
		return nil, fmt.Errorf("keys file %s has no key; make one with: bridge key ID PROJECT LOG", path)
	}
	return k, nil
}

// find gives the key with this ID and secret. Whether the ID or the secret was wrong shows in nothing, time included.
func (k *Keys) find(id, secret string) *key {
	got := sha256.Sum256([]byte(secret))
	candidate := k.current()[id]
	if candidate == nil {
		candidate = &k.nobody
	}
	if subtle.ConstantTimeCompare(got[:], candidate.secret[:]) != 1 {
		return nil
	}
	return candidate
}

// Sources lists what the keys may read, each once.
func (k *Keys) Sources() []Source {
	var all []Source
	for _, key := range k.current() {
		all = append(all, key.source)
	}
	slices.SortFunc(all, func(a, b Source) int {
		return strings.Compare(a.Project+" "+a.Logs, b.Project+" "+b.Logs)
	})
	return slices.Compact(all)
}

func (k *Keys) current() map[string]*key {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.looked) >= lookAgain {
		k.refresh()
	}
	return k.keys
}

func (k *Keys) refresh() {
	k.looked = time.Now()
	text, err := os.ReadFile(k.path)
	if k.keys != nil && err == nil && bytes.Equal(text, k.text) {
		return
	}
	if err != nil {
		k.forget(err)
		return
	}
	k.text = text
	k.keys, k.wrong = parseKeys(text)
	k.log.Info("the keys were read", zap.String("path", k.path), zap.Int("keys", len(k.keys)))
	if k.wrong != nil {
		k.log.Error("lines of the keys file are wrong, their keys do not hold", zap.String("path", k.path), zap.Error(k.wrong))
	}
	k.warnOfWeak(text)
}

// forget lets nobody in where the keys cannot be known: a deleted Secret must not leave its keys valid.
func (k *Keys) forget(err error) {
	if k.wrong == nil || len(k.keys) > 0 {
		k.log.Error("the keys file cannot be read, no key holds until it can", zap.Error(err))
	}
	k.text, k.keys, k.wrong = nil, map[string]*key{}, err
}

func (k *Keys) warnOfWeak(text []byte) {
	for line := range strings.SplitSeq(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) == 4 && len(fields[1]) < weakSecret && k.keys[fields[0]] != nil {
			k.log.Warn("a secret is short; make one with: bridge key", zap.String("key", fields[0]))
		}
	}
}
