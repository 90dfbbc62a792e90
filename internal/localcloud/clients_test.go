package localcloud_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/logging"
	"cloud.google.com/go/logging/logadmin"
	"github.com/google/go-cmp/cmp"
	"github.com/openreplay/log-sidecar/internal/localcloud"
	"google.golang.org/api/iterator"
)

// Google's own Go clients, which most programs write and read with.
func TestTheLoggingClientsLoggerWritesAndLogadminReads(t *testing.T) {
	c := start(t, localcloud.Config{})
	writer, err := logging.NewClient(t.Context(), "demo", clientOptions(c.addr)...)
	if err != nil {
		t.Fatal(err)
	}
	writer.OnError = func(err error) { t.Error(err) }
	logger := writer.Logger("shop", logging.CommonResource(global), logging.CommonLabels(map[string]string{"pod": "shop-1"}))
	first := time.Now().Add(-time.Minute)
	for i := range 120 {
		logger.Log(logging.Entry{
			Timestamp: first.Add(time.Duration(i) * time.Millisecond), Severity: logging.Error,
			Payload: map[string]any{"message": fmt.Sprintf("error %d", i), "n": i},
			Labels:  map[string]string{"openReplaySessionToken": "jw4w.3az.lrra.ovJ2"},
		})
	}
	if err := logger.LogSync(t.Context(), logging.Entry{Severity: logging.Info, Payload: "an aside"}); err != nil {
		t.Error(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}

	reader, err := logadmin.NewClient(t.Context(), "demo", clientOptions(c.addr)...)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	it := reader.Entries(t.Context(), logadmin.Filter(`logName = "projects/demo/logs/shop"
		labels.openReplaySessionToken!=null AND
		severity>=ERROR AND
		timestamp>="`+first.UTC().Format("2006-01-02T15:04:05.000Z")+`"`))
	var read []string
	for {
		e, err := it.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Labels["pod"] != "shop-1" || e.Resource.GetType() != "global" {
			t.Errorf("%+v", e)
		}
		read = append(read, e.InsertID)
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(read)))); n != 120 || len(read) != 120 {
		t.Errorf("read %d entries, %d of them different", len(read), n)
	}
}

func TestLogadminListsAndDeletesLogs(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t, entry("a", noon), entry("b", noon, in("projects/demo/logs/part%2Fother")))
	admin, err := logadmin.NewClient(t.Context(), "demo", clientOptions(c.addr)...)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	logs := func() []string {
		var names []string
		it := admin.Logs(t.Context())
		for {
			name, err := it.Next()
			if err != nil {
				return names
			}
			names = append(names, name)
		}
	}
	if diff := cmp.Diff([]string{"app", "part/other"}, logs()); diff != "" {
		t.Error(diff)
	}
	if err := admin.DeleteLog(t.Context(), "part/other"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"app"}, logs()); diff != "" {
		t.Error(diff)
	}
	var types []string
	it := admin.ResourceDescriptors(t.Context())
	for {
		d, err := it.Next()
		if err != nil {
			break
		}
		types = append(types, d.Type)
	}
	if !slices.Contains(types, "k8s_container") {
		t.Errorf("resources: %v", types)
	}
}
