// Package logging writes structured logs in the form that Cloud Logging understands, one line per invocation of a
// function. Service levels and alerts are computed from these lines, so their field names are an interface.
//
// No line carries a KeyPackage's content, a full event, a token or a secret: callers pass ids, counts and constants.
package logging

import (
	"context"
	"io"
	"log/slog"
	"strings"
)

// Field names that Cloud Logging moves out of the payload, from
// https://cloud.google.com/logging/docs/structured-logging#special-payload-fields.
const (
	severityField = "severity"
	messageField  = "message"
	labelsField   = "logging.googleapis.com/labels"
	traceField    = "logging.googleapis.com/trace"
	spanField     = "logging.googleapis.com/spanId"
	sampledField  = "logging.googleapis.com/trace_sampled"
)

// New returns a logger that writes one JSON object per line to w, in the cloud standard output. Every line is labelled with the
// function's entry point, and with the trace of its context (see [WithTrace]), which Cloud Logging looks up in project.
func New(w io.Writer, project, entryPoint string) *slog.Logger {
	plain := slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: rename})
	return slog.New(handler{plain, project}).With(slog.Group(labelsField, slog.String("function", entryPoint)))
}

func rename(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.LevelKey: // whose names differ for warnings only
		return slog.String(severityField, strings.Replace(a.Value.String(), "WARN", "WARNING", 1))
	case slog.MessageKey:
		a.Key = messageField
	}
	return a
}

// handler adds the context's trace to each line, except inside a group, where it would not be recognised.
type handler struct {
	slog.Handler
	project string
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if t, ok := ctx.Value(traceKey{}).(trace); ok {
		r.AddAttrs(
			slog.String(traceField, "projects/"+h.project+"/traces/"+t.id),
			slog.String(spanField, t.span),
			slog.Bool(sampledField, t.sampled),
		)
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.project}
}
