package bridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/elastic/go-elasticsearch/v9"
	"github.com/elastic/go-elasticsearch/v9/esapi"
	"github.com/google/go-cmp/cmp"

	"github.com/openreplay/log-sidecar/session"
)

// openReplay does what OpenReplay's server does with the settings of its dashboard.
type openReplay struct{ client *elasticsearch.Client }

func newOpenReplay(t testing.TB, url, apiKey string) openReplay {
	t.Helper()
	client, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{url}, APIKey: apiKey})
	if err != nil {
		t.Fatal(err)
	}
	return openReplay{client}
}

// panelHit is what the panel reads of a hit.
type panelHit struct {
	ID     string `json:"_id"`
	Source struct {
		Timestamp time.Time `json:"@timestamp"`
		Message   string
		Level     []string
	} `json:"_source"`
}

type searchAnswer struct {
	Hits struct{ Hits []panelHit }
}

// search gives what OpenReplay would store; none, or an error, would be stored nowhere.
func (o openReplay) search(body string) (hits []panelHit, err error) {
	search := o.client.Search
	answer, err := search(search.WithContext(context.Background()), search.WithIndex("logs"),
		search.WithBody(strings.NewReader(body)), search.WithTrackTotalHits(true))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.IsError() {
		return nil, fmt.Errorf("%s", answer)
	}
	var got searchAnswer
	err = json.NewDecoder(answer.Body).Decode(&got)
	return got.Hits.Hits, err
}

func (o openReplay) validate() ([]panelHit, error) { return o.search(`{"size": 1}`) }

func (o openReplay) fetch(id session.ID) ([]panelHit, error) {
	return o.search(fmt.Sprintf(`{"size": 1000, "query": {"match_phrase": {"message": "openReplaySession.id=%d"}}}`, id))
}

func idsOf(hits []panelHit) (ids []string) {
	for _, h := range hits {
		ids = append(ids, h.ID)
	}
	return ids
}

func TestOpenReplayValidatesAndFetches(t *testing.T) {
	_, cloud := startCloud(t)
	url, _ := startBridge(t, cloud)
	server := newOpenReplay(t, url, apiKey())
	if hits, err := server.validate(); err != nil || len(hits) != 1 {
		t.Fatalf("validation: %v, %v", hits, err)
	}
	start := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	id := newSession(start, 1)
	write(t, cloud, entry(id, "one", start.Add(time.Second)), entry(newSession(start, 2), "of another", start), entry(id, "two", start.Add(2*time.Second)))
	hits, err := server.fetch(id)
	if diff := cmp.Diff([]string{"one", "two"}, idsOf(hits)); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	first := hits[0].Source
	if !first.Timestamp.Equal(start.Add(time.Second)) || !slices.Contains(first.Level, "error") ||
		first.Message != "java.lang.IllegalStateException: no stock\n\tat shop.Cart.add(Cart.java:42)\nopenReplaySession.id="+id.String() {
		t.Errorf("the panel shows %+v", first)
	}
	if hits, err := server.fetch(newSession(start, 3)); err != nil || len(hits) != 0 {
		t.Errorf("a session without errors: %v, %v", hits, err)
	}
}

func TestTheGoClientReadsErrorsAsElasticsearchs(t *testing.T) {
	_, cloud := startCloud(t)
	url, _ := startBridge(t, cloud)
	if _, err := newOpenReplay(t, url, "").validate(); err == nil || !strings.Contains(err.Error(), "security_exception") {
		t.Errorf("without a key: %v", err)
	}
	client := newOpenReplay(t, url, apiKey()).client
	for name, call := range map[string]func() (*esapi.Response, error){
		"indices": func() (*esapi.Response, error) { return client.Cat.Indices() },
		"bulk":    func() (*esapi.Response, error) { return client.Bulk(strings.NewReader("{}\n")) },
		"delete":  func() (*esapi.Response, error) { return client.Delete("logs", "one") },
	} {
		answer, err := call()
		if err != nil {
			t.Fatal(name, err)
		}
		if text := answer.String(); answer.StatusCode != 501 || !strings.Contains(text, "unsupported_operation_exception") {
			t.Errorf("%s: %s", name, text)
		}
		answer.Body.Close()
	}
	answer, err := client.Info()
	if err != nil || answer.IsError() {
		t.Fatal(err, answer)
	}
	answer.Body.Close()
}

func TestTheTypedGoClient(t *testing.T) {
	_, cloud := startCloud(t)
	url, _ := startBridge(t, cloud)
	start := time.Now().Add(-time.Hour)
	id := newSession(start, 1)
	write(t, cloud, entry(id, "one", start))
	client, err := elasticsearch.NewTypedClient(elasticsearch.Config{Addresses: []string{url}, APIKey: apiKey()})
	if err != nil {
		t.Fatal(err)
	}
	info, err := client.Info().Do(t.Context())
	if err != nil || !strings.HasPrefix(info.Version.Int, "9.") {
		t.Errorf("info: %+v, %v", info, err)
	}
	answer, err := client.Search().Index("logs").Raw(strings.NewReader(
		fmt.Sprintf(`{"query": {"match_phrase": {"message": {"query": "openReplaySession.id=%d"}}}}`, id))).Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if answer.Hits.Total.Value != 1 || *answer.Hits.Hits[0].Id_ != "one" {
		t.Errorf("hits: %+v", answer.Hits)
	}
}

// An entry of this very moment: OpenReplay would keep what it is given for ever, so it is given nothing yet.
func TestByDefaultASessionThatGoesOnIsNotShownYet(t *testing.T) {
	_, cloud := startCloud(t)
	url, _ := startBridge(t, cloud)
	id := newSession(time.Now().Add(-time.Minute), 1)
	write(t, cloud, entry(id, "now", time.Now()))
	if hits, err := newOpenReplay(t, url, apiKey()).fetch(id); err != nil || len(hits) != 0 {
		t.Errorf("%v, %v", hits, err)
	}
}

// What a pod pays, with 100,000 entries in Cloud Logging: idle, and after 200 sessions were opened at once.
func TestMemoryAndManySessionsAtOnce(t *testing.T) {
	_, cloud := startCloud(t)
	start := time.Now().Add(-10 * time.Hour).Truncate(time.Millisecond)
	const sessions = 200
	var entries []*loggingpb.LogEntry
	for i := range 100_000 {
		id := newSession(start.Add(time.Duration(i%sessions)*time.Minute), 1)
		entries = append(entries, entry(id, fmt.Sprintf("%03d-%06d", i%sessions, i), id.Start().Add(time.Duration(i)*time.Millisecond)))
	}
	write(t, cloud, entries...)
	entries = nil
	url, process := startBridge(t, cloud)
	server := newOpenReplay(t, url, apiKey())
	if _, err := server.validate(); err != nil {
		t.Fatal(err)
	}
	idle := residentBytes(t, process)
	var all sync.WaitGroup
	for i := range sessions {
		all.Go(func() {
			hits, err := server.fetch(newSession(start.Add(time.Duration(i)*time.Minute), 1))
			if err != nil || len(hits) != 500 {
				t.Errorf("session %d: %d hits, %v", i, len(hits), err)
				return
			}
			for _, h := range hits {
				if !strings.HasPrefix(h.ID, fmt.Sprintf("%03d-", i)) {
					t.Errorf("session %d was given %s", i, h.ID)
				}
			}
		})
	}
	all.Wait()
	t.Logf("RSS idle %.1f MiB, after %d sessions of 500 errors at once %.1f MiB", float64(idle)/(1<<20), sessions, float64(residentBytes(t, process))/(1<<20))
	if idle > 25<<20 {
		t.Errorf("idle RSS is %d bytes, want at most 25 MiB", idle)
	}
}
