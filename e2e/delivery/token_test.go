//go:build e2e

package delivery

import (
	"crypto/hmac"
	"crypto/sha256"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// tokens makes session tokens, and tells those that it made from others, as OpenReplay does with a secret of its own.
var tokens = tokenizer{secret: []byte("known to OpenReplay alone")}

type tokenizer struct{ secret []byte }

const sessionEpoch = 1_550_000_000_000 // ms; a session's number has its start in its upper 40 bits

// signed gives a token of a session that expires tomorrow; parts is 4, or 3 as in 2022.
func (t tokenizer) signed(session uint64, parts int) string {
	return t.until(session, parts, time.Now().Add(24*time.Hour), 120)
}

func (t tokenizer) until(session uint64, parts int, expiry time.Time, delay int64) string {
	id := uint64(time.Now().UnixMilli()-sessionEpoch)>>10<<34 | session
	return t.of(id, parts, expiry, delay)
}

func (t tokenizer) of(id uint64, parts int, expiry time.Time, delay int64) string {
	fields := []string{strconv.FormatUint(id, 36), strconv.FormatInt(delay, 36), strconv.FormatInt(expiry.UnixMilli(), 36)}
	if parts == 3 {
		fields = []string{fields[0], fields[2]}
	}
	body := strings.Join(fields, ".")
	return body + "." + t.sign(body)
}

func (t tokenizer) sign(body string) string {
	mac := hmac.New(sha256.New, t.secret)
	mac.Write([]byte(body))
	return base58(mac.Sum(nil))
}

// session gives the number in a token, and whether OpenReplay takes the token: its age does not count.
func (t tokenizer) session(token string) (id uint64, ok bool) {
	at := strings.LastIndexByte(token, '.')
	if at < 0 || !hmac.Equal([]byte(token[at+1:]), []byte(t.sign(token[:at]))) {
		return 0, false
	}
	fields := strings.Split(token[:at], ".")
	id, err := strconv.ParseUint(fields[0], 36, 64)
	return id, err == nil && (len(fields) == 2 || len(fields) == 3)
}

// base58 has no 0, O, I and l.
func base58(b []byte) string {
	const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	n, base, digit := new(big.Int).SetBytes(b), big.NewInt(58), new(big.Int)
	var out []byte
	for n.Sign() > 0 {
		n.DivMod(n, base, digit)
		out = append([]byte{digits[digit.Int64()]}, out...)
	}
	return string(out)
}
