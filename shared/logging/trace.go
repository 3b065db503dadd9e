package logging

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
)

// Trace identifies the request that a line belongs to, across functions. The zero value is no trace.
type Trace struct {
	ID      string // 32 lower-case hex digits
	Span    string // 16 lower-case hex digits
	Sampled bool
}

var (
	// https://www.w3.org/TR/trace-context/#traceparent-header; versions above 00 may append fields.
	traceParent = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$`)
	// https://cloud.google.com/trace/docs/trace-context#legacy-http-header: the span is decimal.
	cloudTrace = regexp.MustCompile(`^([0-9a-f]{32})/([0-9]{1,20})(?:;o=([01]))?$`)
)

// ParseTraceParent reads a W3C traceparent. What is not one gives no trace: a wrong trace must not stop a delivery.
func ParseTraceParent(s string) Trace {
	m := traceParent.FindStringSubmatch(s)
	if m == nil || s[:2] == "ff" {
		return Trace{}
	}
	flags, _ := strconv.ParseUint(m[3], 16, 8)
	return Trace{ID: m[1], Span: m[2], Sampled: flags&1 == 1}
}

// TraceOf returns the trace of an HTTP request, from its traceparent header or else from X-Cloud-Trace-Context.
func TraceOf(header http.Header) Trace {
	if t := ParseTraceParent(header.Get("Traceparent")); t.ID != "" {
		return t
	}
	m := cloudTrace.FindStringSubmatch(header.Get("X-Cloud-Trace-Context"))
	if m == nil {
		return Trace{}
	}
	span, _ := strconv.ParseUint(m[2], 10, 64)
	return Trace{ID: m[1], Span: fmt.Sprintf("%016x", span), Sampled: m[3] == "1"}
}

// Parent returns the trace as a W3C traceparent, "" for no trace.
func (t Trace) Parent() string {
	if t.ID == "" {
		return ""
	}
	flags := "00"
	if t.Sampled {
		flags = "01"
	}
	return "00-" + t.ID + "-" + t.Span + "-" + flags
}

type traceKey struct{}

// WithTrace returns a context whose log lines belong to the trace.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceFrom returns the trace of the context, or no trace.
func TraceFrom(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return t
}
