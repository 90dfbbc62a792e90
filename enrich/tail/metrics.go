package tail

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Why bytes were lost, as metrics name it.
const (
	lostTruncated = "truncated" // cut off before they were read
	lostDeleted   = "deleted"   // the file was gone when we came back
	lostLongLine  = "long_line" // beyond the longest line that is handed out
)

type metrics struct {
	read     prometheus.Counter
	lost     *prometheus.CounterVec
	unread   *prometheus.CounterVec
	rotated  prometheus.Counter
	cut      prometheus.Counter
	files    prometheus.Gauge
	unsaved  prometheus.Counter
	overflow prometheus.Counter
	freed    prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	m := &metrics{
		read: f.NewCounter(prometheus.CounterOpts{
			Name: "sidecar_tail_read_bytes_total",
			Help: "Bytes of log files that were handed on.",
		}),
		lost: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_tail_lost_bytes_total",
			Help: "Bytes of log files that are known to have been written and could not be read.",
		}, []string{"reason"}),
		unread: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_tail_lost_files_total",
			Help: "Log files that were deleted while nobody looked, or cut off with no copy to be found: what was written to them after the last reading is lost, if there was anything.",
		}, []string{"reason"}),
		rotated: f.NewCounter(prometheus.CounterOpts{
			Name: "sidecar_tail_rotations_total",
			Help: "Log files that were renamed or deleted while they were followed.",
		}),
		cut: f.NewCounter(prometheus.CounterOpts{
			Name: "sidecar_tail_truncations_total",
			Help: "Log files that were truncated or rewritten while they were followed.",
		}),
		files: f.NewGauge(prometheus.GaugeOpts{
			Name: "sidecar_tail_files",
			Help: "Log files that are followed.",
		}),
		unsaved: f.NewCounter(prometheus.CounterOpts{
			Name: "sidecar_tail_checkpoint_failures_total",
			Help: "Checkpoints that could not be written.",
		}),
		freed: f.NewCounter(prometheus.CounterOpts{
			Name: "sidecar_tail_freed_bytes_total",
			Help: "Bytes of log files that were decided and whose room on the disk was given back.",
		}),
		overflow: f.NewCounter(prometheus.CounterOpts{
			Name: "sidecar_tail_notify_failures_total",
			Help: "Times when the system's file events were lost or not available, and the files were polled.",
		}),
	}
	for _, reason := range []string{lostTruncated, lostDeleted, lostLongLine} {
		m.lost.WithLabelValues(reason)
	}
	for _, reason := range []string{lostTruncated, lostDeleted} {
		m.unread.WithLabelValues(reason)
	}
	return m
}
