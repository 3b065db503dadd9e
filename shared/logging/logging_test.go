package logging_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
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
		line.End(logging.WithTrace(t.Context(), "00-"+traceID+"-"+spanID+"-01"), "granted", nil)

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

// A trace goes through the context as it came, in the words of version 00, and what is none leaves the one that is there.
func TestTrace(t *testing.T) {
	t.Parallel()
	const ids = traceID + "-" + spanID
	before := logging.WithTrace(t.Context(), "00-"+ids+"-00")
	for _, test := range []struct{ value, want string }{
		{"00-" + ids + "-01", "00-" + ids + "-01"},
		{"cc-" + ids + "-03-more", "00-" + ids + "-01"},
		{"00-" + ids + "-02", "00-" + ids + "-00"},
		{"ff-" + ids + "-01", ""},
		{"00-" + ids + "-01more", ""},
		{"00-" + strings.ToUpper(ids) + "-01", ""},
		{"", ""},
		{"rubbish", ""},
	} {
		if got := logging.TraceParent(logging.WithTrace(t.Context(), test.value)); got != test.want {
			t.Errorf("%s gave %q, want %q", test.value, got, test.want)
		}
		kept := cmp.Or(test.want, "00-"+ids+"-00")
		if got := logging.TraceParent(logging.WithTrace(before, test.value)); got != kept {
			t.Errorf("%s over another trace gave %q, want %q", test.value, got, kept)
		}
	}
}
