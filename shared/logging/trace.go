package logging

import (
	"context"
	"regexp"
	"strings"
)

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
