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
	"slices"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
)

// New returns a logger that writes one JSON object per line to w, in the cloud standard output. Every line is labelled with the
// function's entry point, and with the trace of its context (see [WithTrace]), which Cloud Logging looks up in project. The names are
// those that it moves out of the payload: https://cloud.google.com/logging/docs/structured-logging#special-payload-fields.
func New(w io.Writer, project, entryPoint string) *slog.Logger {
	plain := slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: rename})
	return slog.New(handler{plain, project}).With(slog.Group("logging.googleapis.com/labels", slog.String("function", entryPoint)))
}

func rename(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.LevelKey: // whose names differ for warnings only
		return slog.String("severity", strings.Replace(a.Value.String(), "WARN", "WARNING", 1))
	case slog.MessageKey:
		a.Key = "message"
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
			slog.String("logging.googleapis.com/trace", "projects/"+h.project+"/traces/"+t.id),
			slog.String("logging.googleapis.com/spanId", t.span),
			slog.Bool("logging.googleapis.com/trace_sampled", t.sampled),
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

// https://www.w3.org/TR/trace-context/#traceparent-header: versions above 00 may append fields; the last bit of the flags is "sampled".
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

// About is the field that says what a line is about. Metrics count invocations by it: nothing else must pass for one.
const (
	About           = "line"
	AboutInvocation = "invocation" // one for each call of a function
	AboutGateway    = "gateway"    // what a gateway has done in the last minute
	AboutRequest    = "request"    // a request that was answered, or repeated, without an invocation of its own
)

// maxErrorText bounds an error's text in bytes: errors of libraries may repeat their input.
const maxErrorText = 512

// Line collects what one invocation has to say and is written once, at its end:
//
//	line := logging.Begin(logger)
//	defer func() { line.End(ctx, outcome, err) }()
//	line.Set("request_event_id", id)
//	line.Count("claimed", 3)
//
// The line has the fields outcome, reason and error (both absent without an error), whatever was Set, and the groups
// counts and durations_ms (milliseconds, with the whole invocation as total). It is for one goroutine at a time.
type Line struct {
	logger *slog.Logger
	begun  time.Time

	fields    []slog.Attr
	counts    []slog.Attr
	durations []slog.Attr
	alerts    []string
}

// Begin starts the invocation's clock.
func Begin(logger *slog.Logger) *Line { return &Line{logger: logger, begun: time.Now()} }

// Set adds a field: an id or a constant, never content.
func (l *Line) Set(key, value string) { l.fields = append(l.fields, slog.String(key, value)) }

// Count adds a number to the group counts.
func (l *Line) Count(name string, n int) { l.counts = append(l.counts, slog.Int(name, n)) }

// Measure adds a duration. Of several with one name the longest stays.
func (l *Line) Measure(name string, d time.Duration) {
	ms := milliseconds(name, d)
	if i := slices.IndexFunc(l.durations, func(a slog.Attr) bool { return a.Key == name }); i < 0 {
		l.durations = append(l.durations, ms)
	} else if ms.Value.Float64() > l.durations[i].Value.Float64() {
		l.durations[i] = ms
	}
}

// Alert notes something, a constant, that somebody has to look at: the line becomes an ERROR.
func (l *Line) Alert(what string) {
	if !slices.Contains(l.alerts, what) {
		l.alerts = append(l.alerts, what)
	}
}

func milliseconds(name string, d time.Duration) slog.Attr {
	return slog.Float64(name, float64(d.Microseconds())/1000)
}

// End writes the line. The outcome is a constant, such as "granted". With an error the line also has its reason (see
// [fault.Reason]), and is an ERROR if the event will be tried again, otherwise a WARNING.
func (l *Line) End(ctx context.Context, outcome string, err error) {
	severity := slog.LevelInfo
	attrs := append([]slog.Attr{slog.String("outcome", outcome)}, l.fields...)
	if err != nil {
		severity = slog.LevelWarn
		attrs = append(attrs, slog.String("reason", fault.Reason(err)), slog.String("error", shorten(err.Error())))
	}
	if len(l.alerts) > 0 {
		attrs = append(attrs, slog.Any("alerts", l.alerts))
	}
	if len(l.alerts) > 0 || fault.IsRetryable(err) {
		severity = slog.LevelError
	}
	attrs = append(attrs,
		slog.GroupAttrs("counts", l.counts...),
		slog.GroupAttrs("durations_ms", append(l.durations, milliseconds("total", time.Since(l.begun)))...),
	)
	l.logger.LogAttrs(ctx, severity, outcome, attrs...)
}

func shorten(text string) string {
	if len(text) > maxErrorText {
		return text[:maxErrorText] + "..."
	}
	return text
}
