package demo

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"cloud.google.com/go/logging/apiv2/loggingpb"
)

// A verdict is what arrived, held against what had to.
type verdict struct {
	arrived map[int][]*loggingpb.LogEntry // by order
	strange []*loggingpb.LogEntry         // entries that no step accounts for
	wrong   []string                      // what is not as it must be, in words
}

func (v *verdict) good() bool { return len(v.wrong) == 0 }

var orderNumber = regexp.MustCompile(`order (\d+)`)

func (s *show) judge(steps []*step) (*verdict, error) {
	entries, err := s.cloud.Entries("")
	if err != nil {
		return nil, err
	}
	v := &verdict{arrived: map[int][]*loggingpb.LogEntry{}}
	byOrder := map[int]*step{}
	for _, st := range steps {
		byOrder[st.order] = st
	}
	for _, e := range entries {
		order := 0
		if m := orderNumber.FindStringSubmatch(message(e)); m != nil {
			order, _ = strconv.Atoi(m[1])
		}
		if st := byOrder[order]; st == nil || !st.expected() {
			v.strange = append(v.strange, e)
			v.wrong = append(v.wrong, fmt.Sprintf("an entry that must not arrive: %.100q", message(e)))
			continue
		}
		v.arrived[order] = append(v.arrived[order], e)
	}
	for _, st := range steps {
		v.judgeStep(st)
	}
	return v, nil
}

func (v *verdict) judgeStep(st *step) {
	entries := v.arrived[st.order]
	if st.expected() && len(entries) != 1 {
		v.wrong = append(v.wrong, fmt.Sprintf("the error of %s %s arrived %d times, not once", st.method, st.path, len(entries)))
	}
	for _, e := range entries {
		if e.GetLabels()["openReplaySessionToken"] != st.user.token {
			v.wrong = append(v.wrong, fmt.Sprintf("the error of %s %s arrived under another session", st.method, st.path))
		}
	}
}

func message(e *loggingpb.LogEntry) string {
	return e.GetJsonPayload().GetFields()["message"].GetStringValue()
}

// progress shows one line that the next one replaces, on a terminal alone.
func (s *show) progress(text string) {
	if s.Terminal {
		fmt.Fprintf(s.Out, "\r\x1b[2K\x1b[2m%s …\x1b[0m", text)
	}
}

func (s *show) print(format string, args ...any) {
	if s.Terminal {
		fmt.Fprint(s.Out, "\r\x1b[2K")
	}
	fmt.Fprintf(s.Out, format, args...)
}

func (s *show) style(code, text string) string {
	if !s.Terminal {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *show) printStage() {
	s.print(`%s

  six users  ->  sidecar %s  ->  legacy app %s
                    |  reads its log, %s/shop.log
                    +->  Cloud Logging stand-in %s

`, s.style("1", "An unmodified app's errors, in Cloud Logging, with the session of the user who met them."),
		s.sidecarAddr, s.appAddr, s.dir, s.cloudAddr)
}

func (s *show) printErrors(steps []*step, v *verdict) {
	for _, st := range steps {
		if !st.error {
			continue
		}
		s.print("%s  %-4s %-18s answered %d, met by %s\n", s.style("31", "ERROR"), st.method, st.path, st.status, st.user.name)
		if st.user.token == "" {
			s.print("       no session: nothing is sent\n\n")
			continue
		}
		for _, e := range v.arrived[st.order] {
			s.printEntry(e)
		}
		s.print("\n")
	}
}

func (s *show) printEntry(e *loggingpb.LogEntry) {
	labels := e.GetLabels()
	s.print("       arrived %s  severity %s  matched by %s (%s)\n", e.GetTimestamp().AsTime().Format("15:04:05.000"),
		e.GetSeverity(), labels["matchedBy"], labels["match"])
	s.print("       openReplaySessionToken %s\n       openReplaySession.id   %s\n",
		s.style("36", labels["openReplaySessionToken"]), labels["openReplaySession.id"])
	lines := strings.Split(message(e), "\n")
	for i, line := range lines {
		if i == 4 && len(lines) > 6 {
			s.print("       | ... %d more lines\n", len(lines)-i)
			break
		}
		s.print("       | %s\n", strings.ReplaceAll(line, "\t", "    "))
	}
}

func (s *show) printVerdict(steps []*step, v *verdict) {
	requests, expected := len(steps), 0
	for _, st := range steps {
		if st.expected() {
			expected++
		}
	}
	if v.good() {
		s.print("%s %d requests; each of the %d errors of users with a session arrived once, under its own session, and nothing else did.\n",
			s.style("32", "Right:"), requests, expected)
		return
	}
	s.print("%s\n", s.style("31", "Wrong:"))
	for _, w := range v.wrong {
		s.print("  %s\n", w)
	}
}

func (s *show) printAddresses() {
	s.print(`
Look further:
  %s
  curl http://%s/metrics
  open http://%s/            the sidecar's status page
  curl -H 'X-OpenReplay-SessionToken: TOKEN' -X POST http://%s/orders/2000/ship
Ctrl-C ends it.
`, s.Gcloud(s.cloudAddr, project, "labels.openReplaySessionToken:*"), s.health, s.admin, s.sidecarAddr)
}
