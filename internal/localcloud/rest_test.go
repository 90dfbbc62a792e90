package localcloud_test

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"testing"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"github.com/openreplay/log-sidecar/internal/localcloud"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

func TestRESTErrorsHaveGooglesShape(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	for _, test := range []struct {
		method, path, body string
		code               int
		status, message    string
	}{
		{"POST", "/v2/entries:list", `{"resourceNames":["projects/demo"],"filter":"x="}`, 400, "INVALID_ARGUMENT", "Unparseable filter: syntax error at line 1, column 3, token '<EOF>'"},
		{"POST", "/v2/entries:list", `{"resourceNames":`, 400, "INVALID_ARGUMENT", "Invalid JSON payload received."},
		{"POST", "/v2/entries:write", `{"nonsense":1}`, 400, "INVALID_ARGUMENT", "nonsense"},
		{"POST", "/v2/entries:write", `{"entries":[{}]}`, 400, "INVALID_ARGUMENT", "Log name"},
		{"DELETE", "/v2/projects/demo/logs/nothing", "", 404, "NOT_FOUND", "projects/demo/logs/nothing"},
		{"GET", "/v2/projects/demo/logs?pageSize=many", "", 400, "INVALID_ARGUMENT", "page_size"},
		{"GET", "/v2/projects/demo/metrics", "", 404, "NOT_FOUND", "/v2/projects/demo/metrics"},
	} {
		code, body := c.do(t, test.method, test.path, test.body)
		var answer struct {
			Error struct {
				Code            int
				Status, Message string
			}
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		e := answer.Error
		if code != test.code || e.Code != test.code || e.Status != test.status || !strings.Contains(e.Message, test.message) {
			t.Errorf("%s %s: %d %s", test.method, test.path, code, body)
		}
	}
}

func TestRESTPartialErrorsCarryTheirDetails(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	code, body := c.post(t, "/v2/entries:write", `{"partialSuccess":true,"logName":"projects/demo/logs/app","resource":{"type":"global"},
		"entries":[{"textPayload":"good"},{"insertId":"bad"}]}`)
	if code != 400 || !strings.Contains(body, `"@type":"type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors"`) || !strings.Contains(body, `"1":{`) {
		t.Errorf("%d %s", code, body)
	}
	if s := c.Stats(); s.Written != 1 || s.Refused != 1 {
		t.Errorf("%+v", s)
	}
}

func TestRESTListsAndDeletesLogsWithASlash(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t, entry("a", noon, in("projects/demo/logs/a%2Fb")), entry("b", noon))
	if _, body := c.do(t, http.MethodGet, "/v2/projects/demo/logs", ""); !strings.Contains(body, `"projects/demo/logs/a%2Fb"`) {
		t.Error(body)
	}
	if code, body := c.do(t, http.MethodDelete, "/v2/projects/demo/logs/a%2Fb", ""); code != 200 {
		t.Error(code, body)
	}
	if diff := cmp.Diff([]string{"b"}, c.ids(t, "")); diff != "" {
		t.Error(diff)
	}
	if _, body := c.do(t, http.MethodGet, "/v2/monitoredResourceDescriptors?pageSize=2", ""); !strings.Contains(body, `"nextPageToken":"2"`) {
		t.Error(body)
	}
}

// One entry that JSON cannot say must not hide the others.
func TestRESTShowsEntriesThatHaveNoJSON(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t,
		entry("any", noon, func(e *loggingpb.LogEntry) {
			e.Payload = &loggingpb.LogEntry_ProtoPayload{ProtoPayload: &anypb.Any{TypeUrl: "type.googleapis.com/no.such.Type"}}
		}),
		entry("nan", noon, func(e *loggingpb.LogEntry) {
			e.Payload = &loggingpb.LogEntry_JsonPayload{JsonPayload: &structpb.Struct{Fields: map[string]*structpb.Value{"n": structpb.NewNumberValue(math.NaN())}}}
		}),
		entry("plain", noon),
	)
	code, body := c.post(t, "/v2/entries:list", `{"resourceNames":["projects/demo"]}`)
	if code != 200 || strings.Count(body, "cannot be shown as JSON") != 2 || !strings.Contains(body, "text of plain") {
		t.Errorf("%d %s", code, body)
	}
}
