package suite

import (
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Eventarc's retries: it starts at 10 s and doubles to 600 s; here the same, 100 times faster.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 6 * time.Second
)

// eventarc brings document events to a function at least once: it calls until the answer is 2xx.
//
// The Firestore emulator by itself calls once, one event at a time for all its projects, and in a form that the CloudEvents
// SDK refuses. Events that are being retried are lost when the eventarc stops.
type eventarc struct {
	caller caller
	log    *slog.Logger
	ctx    context.Context // ends with stop, as the events outlive the emulator's requests
	cancel context.CancelFunc
	calls  sync.WaitGroup
}

func newEventarc(caller caller, log *slog.Logger) *eventarc {
	ctx, cancel := context.WithCancel(context.Background())
	return &eventarc{caller: caller, log: log, ctx: ctx, cancel: cancel}
}

// stop abandons events in flight and returns when no call is running. ServeHTTP must not be called any more.
func (e *eventarc) stop() {
	e.cancel()
	e.calls.Wait()
}

// ServeHTTP takes an event from the emulator. It answers at once, since the emulator waits.
func (e *eventarc) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, r.Body))
	if err != nil {
		e.log.Error("unreadable event", "document", r.Header.Get("Ce-Document"), "error", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	header := cloudEventHeader(r.Header)
	e.calls.Go(func() { e.deliver(header, body) })
	w.WriteHeader(http.StatusNoContent)
}

// cloudEventHeader turns the emulator's headers into those of an event in binary mode (CloudEvents HTTP binding, 3.1).
func cloudEventHeader(from http.Header) http.Header {
	header := http.Header{"Content-Type": {"application/protobuf"}}
	for name, values := range from {
		if strings.HasPrefix(name, "Ce-") {
			header[name] = values
		}
	}
	// In binary mode Content-Type carries this attribute; as a header of its own it is an error.
	header.Del("Ce-Datacontenttype")
	header.Set("Ce-Source", strings.Replace(header.Get("Ce-Source"), "projects/projects/", "projects/", 1))
	return header
}

func (e *eventarc) deliver(header http.Header, body []byte) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		status, _, err := e.caller.post(e.ctx, header, body)
		if e.ctx.Err() != nil || err == nil && status/100 == 2 {
			return
		}
		e.log.Warn("event not acknowledged, will be retried",
			"document", header.Get("Ce-Document"), "status", status, "error", err, "wait", wait.String())
		select {
		case <-e.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
