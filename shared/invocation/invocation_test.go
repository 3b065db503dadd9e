package invocation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/invocation"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

const (
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	traceParent = "00-" + traceID + "-b7ad6b7169203331-01"
)

// called serves one request and returns the answer and the log.
func called(handler func(*slog.Logger) http.HandlerFunc) (*httptest.ResponseRecorder, []map[string]any) {
	var log bytes.Buffer
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
	r.Header.Set("Traceparent", traceParent)
	handler(logging.New(&log, "project", "Test"))(w, r)
	var lines []map[string]any
	for line := range strings.Lines(log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			panic(err)
		}
		lines = append(lines, fields)
	}
	return w, lines
}

// An error's class decides between acknowledgement and retry, and nothing else does.
func TestAcknowledgeOrRetry(t *testing.T) {
	t.Parallel()
	secret := errors.New("the details")
	for name, tt := range map[string]struct {
		err    error
		body   []byte
		code   int
		answer string
	}{
		"done":                 {nil, nil, http.StatusNoContent, ""},
		"done, with a report":  {nil, []byte(`{"more":false}`), http.StatusOK, `{"more":false}`},
		"worth trying again":   {fault.Retryable("firestore", secret), nil, http.StatusServiceUnavailable, "firestore\n"},
		"again, with a report": {fault.Retryable("firestore", secret), []byte("{}"), http.StatusServiceUnavailable, "firestore\n"},
		"never worth it":       {fault.Permanent("bad_event", secret), nil, http.StatusNoContent, ""},
		"nobody knows":         {secret, nil, http.StatusServiceUnavailable, "internal\n"},
		"one of two":           {errors.Join(fault.Permanent("bad_event", nil), fault.Retryable("firestore", nil)), nil, http.StatusServiceUnavailable, "firestore\n"},
		"the caller has gone":  {context.Canceled, nil, http.StatusServiceUnavailable, "internal\n"},
	} {
		w, lines := called(func(logger *slog.Logger) http.HandlerFunc {
			return invocation.Serve(logger, func(context.Context, *http.Request, *logging.Line) (string, []byte, error) {
				return "outcome", tt.body, tt.err
			})
		})
		if w.Code != tt.code || w.Body.String() != tt.answer {
			t.Errorf("%s: %d %q, want %d %q", name, w.Code, w.Body, tt.code, tt.answer)
		}
		if len(lines) != 1 || lines[0]["outcome"] != "outcome" {
			t.Errorf("%s: logged %v, want one line", name, lines)
		}
		if _, logged := lines[0]["error"]; logged != (tt.err != nil) {
			t.Errorf("%s: logged %v", name, lines[0])
		}
	}
}

// The trace of the request reaches the use case and the log.
func TestTrace(t *testing.T) {
	t.Parallel()
	_, lines := called(func(logger *slog.Logger) http.HandlerFunc {
		return invocation.Serve(logger, func(ctx context.Context, _ *http.Request, line *logging.Line) (string, []byte, error) {
			line.Set("request_event_id", logging.TraceParent(ctx))
			return "done", nil, nil
		})
	})
	trace, _ := lines[0]["logging.googleapis.com/trace"].(string)
	if !strings.HasSuffix(trace, traceID) || lines[0]["request_event_id"] != traceParent {
		t.Errorf("logged %v", lines[0])
	}
}

// The settings are read and the use case is built when the first request comes, once. What can not be built is tried
// again with the next request. (Not parallel: it sets the environment.)
func TestHandler(t *testing.T) {
	t.Setenv(config.Project, "")
	t.Setenv(config.RelayDeliveryURL, "http://127.0.0.1:1/x")
	built, fail := 0, true
	handler := invocation.Handler("Test", func(cfg config.Config, _ *slog.Logger) (invocation.Run, error) {
		if built++; fail {
			return nil, errors.New("no connection")
		}
		return func(context.Context, *http.Request, *logging.Line) (string, []byte, error) {
			return "done", []byte(cfg.Project), nil
		}, nil
	}, config.RelayDeliveryURL)
	call := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler(w, httptest.NewRequest(http.MethodPost, "/", nil))
		return w
	}
	if built != 0 {
		t.Fatal("registering a function builds it")
	}
	if w := call(); w.Code != http.StatusServiceUnavailable || w.Body.String() != "not_configured\n" || built != 0 {
		t.Errorf("without a project: %d %q, built %d times", w.Code, w.Body, built)
	}
	t.Setenv(config.Project, "some-project")
	if w := call(); w.Code != http.StatusServiceUnavailable || built != 1 {
		t.Errorf("without a connection: %d, built %d times", w.Code, built)
	}
	fail = false
	for range 2 {
		if w := call(); w.Code != http.StatusOK || w.Body.String() != "some-project" || built != 2 {
			t.Errorf("at last: %d %q, built %d times", w.Code, w.Body, built)
		}
	}
}
