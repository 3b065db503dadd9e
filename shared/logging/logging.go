// Package logging writes structured logs in the form that Cloud Logging understands, one line per invocation of a
// function. Service levels and alerts are computed from these lines, so their field names are an interface.
//
// No line carries a KeyPackage's content, a full event, a token or a secret: callers pass ids, counts and constants.
package logging

import (
	"context"
	"io"
	"log/slog"
	"regexp"
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

// trace identifies the request that a line belongs to, across functions.
type trace struct {
	id, span string
	sampled  bool
}

// https://www.w3.org/TR/trace-context/#traceparent-header: no version ff; versions above 00 may append fields; the last bit of
// the flags is "sampled".
var traceParent = regexp.MustCompile(`^(?:[0-9a-e][0-9a-f]|f[0-9a-e])-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]([0-9a-f])(?:-.*)?$`)

type traceKey struct{}

// WithTrace returns a context whose log lines belong to the trace of a W3C traceparent, which Cloud Run puts on every request.
// What is not one changes nothing: a wrong trace must not stop a delivery.
func WithTrace(ctx context.Context, parent string) context.Context {
	m := traceParent.FindStringSubmatch(parent)
	if m == nil {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, trace{m[1], m[2], strings.Contains("13579bdf", m[3])})
}

// TraceParent returns the trace of the context as a W3C traceparent, "" if there is none.
func TraceParent(ctx context.Context) string {
	t, ok := ctx.Value(traceKey{}).(trace)
	switch {
	case !ok:
		return ""
	case t.sampled:
		return "00-" + t.id + "-" + t.span + "-01"
	}
	return "00-" + t.id + "-" + t.span + "-00"
}
