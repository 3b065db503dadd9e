package system

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"sync"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
)

// traffic stands between the platform and the functions. It keeps what they answered, lets tests call them, and makes
// trouble on the way where a test wants it.
type traffic struct {
	mu        sync.Mutex
	functions map[string]http.Handler // by entry point
	statuses  map[string][]int        // what the platform was answered, by event
	troubles  map[string]trouble      // by event
}

// trouble answers the platform in place of a function.
type trouble func(function http.Handler, w http.ResponseWriter, r *http.Request)

func newTraffic() *traffic {
	return &traffic{functions: map[string]http.Handler{}, statuses: map[string][]int{}, troubles: map[string]trouble{}}
}

// watch is the suite's middleware.
func (tr *traffic) watch(entryPoint string, function http.Handler) http.Handler {
	tr.functions[entryPoint] = function // before the suite has started
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		event := eventOf(entryPoint, r)
		answer := httptest.NewRecorder()
		if trouble := tr.troubleFor(event); trouble != nil {
			trouble(function, answer, r)
		} else {
			function.ServeHTTP(answer, r)
		}
		tr.note(event, answer.Code)
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// eventOf names what a function is called for: a request's document, a message, or nothing.
func eventOf(entryPoint string, r *http.Request) string {
	switch entryPoint {
	case suite.Claim:
		return path.Base(r.Header.Get("Ce-Document"))
	case suite.Deliver:
		var push struct {
			Message struct {
				ID string `json:"messageId"`
			} `json:"message"`
		}
		_ = json.Unmarshal(replayable(r), &push)
		return push.Message.ID
	}
	return ""
}

// replayable reads the request's body and leaves it to be read again.
func replayable(r *http.Request) []byte {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body
}

func (tr *traffic) troubleFor(event string) trouble {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.troubles[event]
}

func (tr *traffic) note(event string, status int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.statuses[event] = append(tr.statuses[event], status)
}

// disturb makes trouble for an event, from now on.
func (tr *traffic) disturb(event string, trouble trouble) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.troubles[event] = trouble
}

// answers returns the status codes that the platform was answered so far.
func (tr *traffic) answers(event string) []int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.statuses[event])
}

// post calls a function with whatever a stranger might send, and returns the status code.
func (tr *traffic) post(entryPoint string, header http.Header, body []byte) int {
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	tr.functions[entryPoint].ServeHTTP(w, r)
	return w.Code
}

// The troubles.

// lost acknowledges an event that the function never sees.
func lost(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNoContent)
}

// twice delivers an event twice at the same time.
func twice(function http.Handler, w http.ResponseWriter, r *http.Request) {
	body := replayable(r)
	var both sync.WaitGroup
	both.Go(func() {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		function.ServeHTTP(httptest.NewRecorder(), again)
	})
	function.ServeHTTP(w, r)
	both.Wait()
}

// deafOnce loses the function's first answer after it has done its work.
func deafOnce() trouble {
	var once sync.Once
	return func(function http.Handler, w http.ResponseWriter, r *http.Request) {
		answer := w
		once.Do(func() { answer = httptest.NewRecorder() })
		function.ServeHTTP(answer, r)
		if answer != w {
			w.WriteHeader(http.StatusBadGateway)
		}
	}
}
