// Package invocation is the edge that all functions have in common: it begins and ends the log line, carries the trace,
// and is the one place that turns an error into an acknowledgement or a retry.
package invocation

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/fault"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

// Run handles one invocation. outcome is a constant for the log. A nil or permanent error acknowledges the event, a
// retryable one asks for it again. body, if not nil, is the JSON answer of an acknowledged invocation.
type Run func(ctx context.Context, r *http.Request, line *logging.Line) (outcome string, body []byte, err error)

// Serve serves a function. The logger must not be nil.
//
// Functions are registered over HTTP and read their CloudEvents themselves, because the receiver of the CloudEvents SDK
// can lose a request when several are in flight (github.com/cloudevents/sdk-go, issues 1224 and 1332).
func Serve(logger *slog.Logger, run Run) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		line := logging.Begin(logger)
		line.Set(logging.About, logging.AboutInvocation)
		ctx := logging.WithTrace(r.Context(), r.Header.Get("Traceparent"))
		outcome, body, err := run(ctx, r, line)
		line.End(ctx, outcome, err)
		reply(w, body, err)
	}
}

// reply acknowledges with 200 or 204, which mean the same to Pub/Sub, Eventarc and their emulators, or asks again with 503.
func reply(w http.ResponseWriter, body []byte, err error) {
	switch {
	case fault.IsRetryable(err):
		http.Error(w, fault.Reason(err), http.StatusServiceUnavailable)
	case body == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // whoever asked has gone; the work is done
	}
}

// Handler returns a handler for a function's invocations, see [Built].
func Handler(entryPoint string, build func(config.Config, *slog.Logger) (Run, error), required ...string) http.HandlerFunc {
	return Built(entryPoint, func(cfg config.Config, logger *slog.Logger) (http.Handler, error) {
		run, err := build(cfg, logger)
		if err != nil {
			return nil, err
		}
		return Serve(logger, run), nil
	}, required...)
}

// Built returns a handler that is built with the process's settings when the first request comes, and kept: every deployment registers
// all functions. If it cannot be built the event is tried again, and so is the building: one revision may have a wrong setting.
func Built(entryPoint string, build func(config.Config, *slog.Logger) (http.Handler, error), required ...string) http.HandlerFunc {
	var mu sync.Mutex
	var handler http.Handler
	get := func() http.Handler {
		mu.Lock()
		defer mu.Unlock()
		if handler != nil {
			return handler
		}
		cfg, err := config.Load(os.LookupEnv, required...)
		logger := logging.New(os.Stdout, cfg.Project, entryPoint)
		if err == nil {
			if handler, err = build(cfg, logger); err == nil {
				return handler
			}
		}
		return Serve(logger, func(context.Context, *http.Request, *logging.Line) (string, []byte, error) {
			return "not_configured", nil, fault.Retryable("not_configured", err)
		})
	}
	return func(w http.ResponseWriter, r *http.Request) { get().ServeHTTP(w, r) }
}
