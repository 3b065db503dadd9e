package logging

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
)

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
