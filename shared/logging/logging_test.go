package logging_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
)

// decode reads the single line in out, without its time.
func decode(t *testing.T, out *bytes.Buffer) map[string]any {
	t.Helper()
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("not one JSON object: %v\n%s", err, out)
	}
	stamp, _ := line["time"].(string)
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil {
		t.Errorf("time: %v", err)
	}
	delete(line, "time")
	return line
}

func TestLineOfAnInvocation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		line := logging.Begin(logging.New(&out, "demo-project", "ClaimKeyPackages"))
		line.Set("request_event_id", "abc")
		line.Count("claimed", 3)
		line.Measure("receipt_to_answer", 12500*time.Microsecond)
		line.Measure("receipt_to_answer", time.Millisecond) // the longest stays
		time.Sleep(13500 * time.Microsecond)                // of the bubble's clock
		trace := logging.Trace{ID: traceID, Span: spanID, Sampled: true}
		line.End(logging.WithTrace(t.Context(), trace), "granted", nil)

		want := map[string]any{
			"severity":                             "INFO",
			"message":                              "granted",
			"outcome":                              "granted",
			"request_event_id":                     "abc",
			"counts":                               map[string]any{"claimed": 3.0},
			"durations_ms":                         map[string]any{"receipt_to_answer": 12.5, "total": 13.5},
			"logging.googleapis.com/labels":        map[string]any{"function": "ClaimKeyPackages"},
			"logging.googleapis.com/trace":         "projects/demo-project/traces/" + traceID,
			"logging.googleapis.com/spanId":        spanID,
			"logging.googleapis.com/trace_sampled": true,
		}
		if got := decode(t, &out); !reflect.DeepEqual(got, want) {
			t.Errorf("line = %v\nwant   %v", got, want)
		}
	})
}

func TestLineOfAFailure(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err              error
		severity, reason string
	}{
		{fault.Permanent("bad_envelope", errors.New("eof")), "WARNING", "bad_envelope"},
		{fault.Retryable("store_unavailable", errors.New("eof")), "ERROR", "store_unavailable"},
		{errors.New("eof"), "ERROR", "internal"},
	}
	for _, test := range tests {
		var out bytes.Buffer
		logging.Begin(logging.New(&out, "p", "f")).End(t.Context(), "failed", test.err)
		got := decode(t, &out)
		if got["severity"] != test.severity || got["reason"] != test.reason || got["error"] != test.err.Error() {
			t.Errorf("%v gave %v", test.err, got)
		}
		if _, traced := got["logging.googleapis.com/trace"]; traced {
			t.Error("a line without a trace claims one")
		}
	}
}

func TestLongErrorsAreCut(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logging.Begin(logging.New(&out, "p", "f")).End(t.Context(), "failed", errors.New(strings.Repeat("x", 10_000)))
	if out.Len() > 1000 {
		t.Errorf("the line has %d bytes", out.Len())
	}
}

func TestTraceOf(t *testing.T) {
	t.Parallel()
	full := logging.Trace{ID: traceID, Span: spanID, Sampled: true}
	tests := []struct {
		name, value string
		want        logging.Trace
	}{
		{"traceparent", "00-" + traceID + "-" + spanID + "-01", full},
		{"traceparent", "cc-" + traceID + "-" + spanID + "-03-more", full},
		{"traceparent", "00-" + traceID + "-" + spanID + "-00", logging.Trace{ID: traceID, Span: spanID}},
		{"traceparent", "ff-" + traceID + "-" + spanID + "-01", logging.Trace{}},
		{"traceparent", "00-" + strings.ToUpper(traceID) + "-" + spanID + "-01", logging.Trace{}},
		{"traceparent", "", logging.Trace{}},
		{"X-Cloud-Trace-Context", traceID + "/13235353014750950193;o=1", full},
		{"X-Cloud-Trace-Context", traceID + "/13235353014750950193", logging.Trace{ID: traceID, Span: spanID}},
		{"X-Cloud-Trace-Context", traceID, logging.Trace{}},
		{"X-Cloud-Trace-Context", "rubbish", logging.Trace{}},
	}
	for _, test := range tests {
		header := http.Header{}
		header.Set(test.name, test.value)
		if got := logging.TraceOf(header); got != test.want {
			t.Errorf("%s: %s gave %+v, want %+v", test.name, test.value, got, test.want)
		}
	}
}

func TestTraceTravelsAsParent(t *testing.T) {
	t.Parallel()
	for _, want := range []logging.Trace{{}, {ID: traceID, Span: spanID}, {ID: traceID, Span: spanID, Sampled: true}} {
		if got := logging.ParseTraceParent(want.Parent()); got != want {
			t.Errorf("%+v became %+v", want, got)
		}
	}
}
