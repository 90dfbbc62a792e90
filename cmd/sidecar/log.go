package main

import (
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLog writes to f: for people on a terminal, else as the JSON that GKE's agent reads.
func newLog(f *os.File) *zap.Logger {
	if terminal(f) {
		encoder := zap.NewDevelopmentEncoderConfig()
		encoder.EncodeLevel = zapcore.CapitalColorLevelEncoder
		encoder.EncodeCaller = nil
		encoder.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(encoder), zapcore.Lock(f), zap.InfoLevel))
	}
	encoder := zapcore.EncoderConfig{
		TimeKey: "time", EncodeTime: zapcore.RFC3339NanoTimeEncoder,
		LevelKey: "severity", EncodeLevel: severityName,
		MessageKey: "message", NameKey: "part", StacktraceKey: "stack",
		EncodeDuration: zapcore.StringDurationEncoder,
	}
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoder), zapcore.Lock(f), zap.InfoLevel))
}

// severityName gives Cloud Logging's name of a level.
func severityName(level zapcore.Level, out zapcore.PrimitiveArrayEncoder) {
	switch level {
	case zapcore.WarnLevel:
		out.AppendString("WARNING")
	case zapcore.DPanicLevel, zapcore.PanicLevel, zapcore.FatalLevel:
		out.AppendString("CRITICAL")
	default:
		out.AppendString(level.CapitalString())
	}
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
