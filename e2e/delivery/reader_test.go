//go:build e2e

package delivery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// A reader reads Cloud Logging as OpenReplay's servers up to 1.20 do: every now and then, oldest first, 50 entries a page,
// from the millisecond after the latest entry that it has seen. It never looks back.
type reader struct {
	t       *testing.T
	address string
	client  *http.Client

	cursor  int64                       // ms
	listed  int                         // entries that were read
	shown   map[failure][]uint64        // the sessions under which it shows an error
	dropped map[string]map[failure]bool // what it read and does not show, by reason
	polls   []poll
}

// A poll is one reading and where it left the cursor.
type poll struct {
	began  time.Time
	cursor int64
}

// pollEvery stands for OpenReplay's minute.
const pollEvery = 500 * time.Millisecond

func newReader(t *testing.T, address string) *reader {
	return &reader{t: t, address: address, client: &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second},
		cursor: time.Now().Add(-24 * time.Hour).UnixMilli(), shown: map[failure][]uint64{}, dropped: map[string]map[failure]bool{}}
}

// run polls until done is closed, and once more.
func (r *reader) run(done <-chan struct{}) {
	defer r.client.CloseIdleConnections()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for open := true; open; {
		select {
		case <-ticker.C:
		case <-done:
			open = false
		}
		r.poll()
	}
}

func (r *reader) poll() {
	began := time.Now()
	filter := fmt.Sprintf("logName = \"projects/%s/logs/openreplay-errors\"\nlabels.openReplaySessionToken!=null AND\nseverity>=ERROR AND\ntimestamp>=%q",
		stage.Project, time.UnixMilli(r.cursor+1).UTC().Format(time.RFC3339Nano))
	for page := ""; ; {
		entries, next, err := r.list(filter, page)
		if err != nil {
			r.t.Errorf("OpenReplay's reading failed, which switches it off in the end: %v", err)
			return
		}
		for _, e := range entries {
			r.cursor = max(r.cursor, e.Timestamp.UnixMilli())
			r.take(e)
		}
		if page = next; page == "" {
			break
		}
	}
	r.polls = append(r.polls, poll{began, r.cursor})
}

type listed struct {
	Timestamp   time.Time
	Labels      map[string]string
	HTTPRequest json.RawMessage
	JSONPayload struct{ Message string }
}

func (r *reader) list(filter, page string) (entries []listed, next string, err error) {
	body, err := json.Marshal(map[string]any{"resourceNames": []string{"projects/" + stage.Project}, "orderBy": "timestamp asc",
		"pageSize": 50, "filter": filter, "pageToken": page})
	if err != nil {
		return nil, "", err
	}
	answer, err := r.client.Post("http://"+r.address+"/v2/entries:list", "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("%s: %s %w", answer.Status, text, err)
	}
	var found struct {
		Entries       []listed
		NextPageToken string
	}
	err = json.Unmarshal(text, &found)
	return found.Entries, found.NextPageToken, err
}

// take shows an entry in its session's replay, or drops it.
func (r *reader) take(e listed) {
	r.listed++
	which := errorIn(e.JSONPayload.Message)
	id, ok := tokens.session(e.Labels["openReplaySessionToken"])
	switch {
	case e.HTTPRequest != nil:
		r.drop("it has an httpRequest", which)
	case !ok:
		r.drop("its token is not one of OpenReplay's", which)
	default:
		r.shown[which] = append(r.shown[which], id)
	}
}

func (r *reader) drop(reason string, which failure) {
	if r.dropped[reason] == nil {
		r.dropped[reason] = map[failure]bool{}
	}
	r.dropped[reason][which] = true
}

// passed says whether the reader's cursor had passed the millisecond of an entry before a reading that began before the
// entry could be seen: then the reader never sees it, and nothing else explains a miss.
func (r *reader) passed(stamp, visible time.Time) bool {
	for _, p := range r.polls {
		if p.cursor >= stamp.UnixMilli() && p.began.Before(visible) {
			return true
		}
	}
	return false
}
