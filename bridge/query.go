package bridge

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/openreplay/log-sidecar/session"
)

const (
	// maxBody is the most bytes of a search, also once they are unpacked. OpenReplay's have about 120.
	maxBody = 16 << 10
	// maxHits is the most hits of an answer, which is what OpenReplay asks for.
	maxHits = 1000
	// defaultHits is Elasticsearch's own default of size.
	defaultHits = 10
)

// phrase is how OpenReplay names a session in a message; the ID follows in decimal.
const phrase = "openReplaySession.id="

// A search is all that can be asked: for the entries of one session, or, without one, whether anything answers.
type search struct {
	session session.ID // 0: none
	size    int
}

// body is a search as Elasticsearch's clients write it. What is not here is refused by name.
type body struct {
	Size           *int                      `json:"size"`
	From           int                       `json:"from"`
	TrackTotalHits jsontext.Value            `json:"track_total_hits"` // hits are always counted
	Query          map[string]jsontext.Value `json:"query"`
}

// parameters of the address that change nothing here.
var harmless = []string{"track_total_hits", "pretty", "human", "error_trace", "typed_keys", "ignore_unavailable",
	"allow_no_indices", "expand_wildcards", "request_cache", "preference", "rest_total_hits_as_int"}

// readSearch understands a request for /logs/_search; err is always a *failure.
func readSearch(r *http.Request) (search, error) {
	raw, err := readBody(r)
	if err != nil {
		return search{}, err
	}
	s, err := parseSearch(raw)
	if err != nil {
		return search{}, err
	}
	return s, s.parameters(r.URL)
}

func readBody(r *http.Request) ([]byte, error) {
	var reader io.Reader = r.Body
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		packed, err := gzip.NewReader(io.LimitReader(r.Body, maxBody))
		if err != nil {
			return nil, invalid("the body is not what its Content-Encoding says: gzip")
		}
		reader = packed
	default:
		return nil, invalid("a body with Content-Encoding %.40q cannot be read; use gzip or none", encoding)
	}
	raw, err := io.ReadAll(io.LimitReader(reader, maxBody+1))
	if err != nil {
		return nil, invalid("the body did not come whole")
	}
	if len(raw) > maxBody {
		return nil, &failure{status: http.StatusRequestEntityTooLarge, kind: "content_too_long_exception",
			reason: fmt.Sprintf("a search may have %d bytes", maxBody)}
	}
	return raw, nil
}

// parseSearch reads a body.
func parseSearch(raw []byte) (search, error) {
	var b body
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := json.Unmarshal(raw, &b, json.RejectUnknownMembers(true)); err != nil {
			return search{}, unreadable(err)
		}
	}
	s := search{size: defaultHits}
	if b.Size != nil {
		s.size = *b.Size
	}
	if s.size < 0 {
		return search{}, invalid("[size] must be 0 or more")
	}
	if b.From != 0 {
		return search{}, invalid("[from] is not supported: an answer has the oldest %d entries, and says how many more there are", maxHits)
	}
	var err error
	s.session, err = parseQuery(b.Query)
	return s, err
}

// unreadable says where a body is wrong, and never what stands there.
func unreadable(err error) *failure {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		if errors.Is(err, json.ErrUnknownName) {
			return invalid("%.80q is not supported in a search; supported are size, query and track_total_hits", string(semantic.JSONPointer))
		}
		return invalid("%.80q has a value of the wrong kind", string(semantic.JSONPointer))
	}
	return &failure{status: http.StatusBadRequest, kind: "parsing_exception", reason: "the body is not the JSON of a search"}
}

const onlySessions = `a query can only be {"match_phrase": {"message": "openReplaySession.id=<decimal>"}}: sessions are all that can be searched`

func parseQuery(query map[string]jsontext.Value) (session.ID, error) {
	if _, all := query["match_all"]; all && len(query) == 1 || len(query) == 0 {
		return 0, nil
	}
	var fields map[string]jsontext.Value
	if len(query) != 1 || json.Unmarshal(query["match_phrase"], &fields) != nil || len(fields) != 1 {
		return 0, invalid(onlySessions)
	}
	text, ok := phraseText(fields["message"])
	number, found := strings.CutPrefix(text, phrase)
	if !ok || !found {
		return 0, invalid(onlySessions)
	}
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil || id == 0 {
		return 0, invalid("openReplaySession.id is not a decimal number of a session")
	}
	return session.ID(id), nil
}

// phraseText reads both of Elasticsearch's ways to write a phrase: "text" and {"query": "text"}.
func phraseText(value jsontext.Value) (text string, ok bool) {
	if json.Unmarshal(value, &text) == nil && text != "" {
		return text, true
	}
	var long struct {
		Query string `json:"query"`
	}
	err := json.Unmarshal(value, &long, json.RejectUnknownMembers(true))
	return long.Query, err == nil
}

// parameters takes what stands in the address: size counts there too.
func (s *search) parameters(u *url.URL) error {
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return invalid("the address has a query that is not well formed")
	}
	for name, value := range values {
		if slices.Contains(harmless, name) {
			continue
		}
		size, err := strconv.Atoi(value[0])
		if name != "size" || err != nil || size < 0 {
			return invalid("the parameter %.40q is not supported", name)
		}
		s.size = size
	}
	return nil
}
