//go:build e2e

package sessions

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/e2e/stage"
	"github.com/openreplay/log-sidecar/e2e/tomcat"
)

// An app is a legacy app that runs, in front of which nothing is changed but what its owners put into /page.js.
type app struct {
	name  string
	url   string
	logs  string // the directory of its log files
	pages string // the directory of its static files
}

func startTomcat(t *testing.T) *app {
	dir, address := t.TempDir(), stage.Address(t)
	tomcat.StartApp(t, dir, address, os.DirFS("tomcat"), "/", "/status")
	return &app{"Tomcat", "http://" + address, filepath.Join(dir, "logs"), filepath.Join(dir, "webapps", "ROOT")}
}

func startPHP(t *testing.T) *app {
	php := stage.Need(t, "php", "apt-get install php-cli, or run e2e/setup")
	dir, address := t.TempDir(), stage.Address(t)
	a := &app{"PHP", "http://" + address, filepath.Join(dir, "logs"), filepath.Join(dir, "pages")}
	for _, name := range []string{"logs", "sessions"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(a.pages, os.DirFS("php")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(php, "-d", "session.save_path="+filepath.Join(dir, "sessions"), "-d", "log_errors=1", "-d", "display_errors=0",
		"-d", "error_log="+filepath.Join(a.logs, "php.log"), "-S", address, "-t", a.pages, filepath.Join(a.pages, "index.php"))
	cmd.Env = append(os.Environ(), "PHP_CLI_SERVER_WORKERS=4")
	stage.Start(t, "PHP", cmd)
	a.await(t)
	return a
}

func startExpress(t *testing.T) *app {
	node := stage.Need(t, "node", "apt-get install nodejs, or run e2e/setup")
	dir, address := t.TempDir(), stage.Address(t)
	a := &app{"Express", "http://" + address, filepath.Join(dir, "logs"), filepath.Join(dir, "pages")}
	for _, path := range []string{a.logs, a.pages} {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(a.logs, "express.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	cmd := exec.Command(node, "node/shop.js", address, a.pages)
	cmd.Env = append(os.Environ(), "NODE_ENV=production")
	cmd.Stdout, cmd.Stderr = log, log
	stage.Start(t, "Express", cmd)
	a.await(t)
	return a
}

// await waits until the app answers.
func (a *app) await(t *testing.T) {
	stage.Await(t, a.name+" to answer", func() bool {
		answer, err := http.Get(a.url + "/status")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
}

func (a *app) setPage(t *testing.T, script string) {
	if err := os.WriteFile(filepath.Join(a.pages, "page.js"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
}

// An ingest stands in for OpenReplay's: it gives out tokens of the real shape, and takes batches that bring one of its own.
type ingest struct {
	address string

	mu     sync.Mutex
	number uint64
	tokens map[string]bool
}

func newIngest(t *testing.T) *ingest {
	i := &ingest{tokens: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ingest/v1/web/start", i.start)
	mux.HandleFunc("POST /ingest/v1/web/i", i.batch)
	mux.HandleFunc("GET /ingest/v1/web/tags", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"tags":[]}`)) })
	server := httptest.NewServer(cors(mux))
	t.Cleanup(server.Close)
	i.address = server.URL + "/ingest"
	return i
}

// cors answers pages of every origin, as OpenReplay's backend does.
func cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Methods", "POST,GET")
		h.Set("Access-Control-Allow-Headers", "Content-Type,Authorization,Content-Encoding,datatype")
		if r.Method != http.MethodOptions {
			next.ServeHTTP(w, r)
		}
	})
}

func (i *ingest) start(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Token, UserUUID string }
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || r.Header.Get("Cookie") != "" {
		http.Error(w, "a start is JSON, and brings no cookies", http.StatusBadRequest)
		return
	}
	now := time.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	token := asked.Token
	if !i.tokens[token] {
		i.number++
		id := uint64(now.UnixMilli()-1_550_000_000_000)<<24 | i.number
		token = strings.Join([]string{strconv.FormatUint(id, 36), "-5", strconv.FormatInt(now.Add(2*time.Hour).UnixMilli(), 36),
			"ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4sndRrpZevt3" + strconv.FormatUint(i.number, 36)}, ".")
		i.tokens[token] = true
	}
	id, _, _ := strings.Cut(token, ".")
	number, _ := strconv.ParseUint(id, 36, 64)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"token": token, "userUUID": "u-" + id, "sessionID": strconv.FormatUint(number, 10),
		"delay": -5, "startTimestamp": now.UnixMilli(), "beaconSizeLimit": 1_000_000, "projectID": "1", "compressionThreshold": 20000})
}

func (i *ingest) batch(w http.ResponseWriter, r *http.Request) {
	if token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); !i.knows(token) {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func (i *ingest) knows(token string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.tokens[token]
}
