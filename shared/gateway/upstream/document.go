package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// documentAge is how long the NIP-11 document is believed before it is fetched again.
	documentAge = 5 * time.Minute
	// retryAfter is how long a failed fetch is not repeated.
	retryAfter = 10 * time.Second
	// documentTimeout bounds one fetch; readers wait for it.
	documentTimeout = 3 * time.Second
	// maxDocument bounds the document; those of real relays have a few KB.
	maxDocument = 256 << 10
)

// Document is a NIP-11 document: names to values, which are passed on as they were written.
type Document map[string]jsontext.Value

// Document returns the relay's NIP-11 document, at most a few minutes old if the relay can be reached, otherwise the last one,
// or nil. The caller must not change it. The error says why a fetch that was due has failed.
func (r *Relay) Document(ctx context.Context) (Document, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.fetchAt) {
		return r.last, nil
	}
	fetched, err := r.fetch(ctx)
	if err != nil {
		r.fetchAt = time.Now().Add(retryAfter)
		return r.last, fmt.Errorf("NIP-11 document of upstream: %w", err)
	}
	r.last, r.fetchAt = fetched, time.Now().Add(documentAge)
	return r.last, nil
}

// fetch does not end with the caller's context: others wait for the same document.
func (r *Relay) fetch(ctx context.Context) (Document, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), documentTimeout)
	defer cancel()
	address := *r.url
	address.Scheme = strings.Replace(address.Scheme, "ws", "http", 1)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, reason(err, nil)
	}
	request.Header.Set("Accept", "application/nostr+json")
	response, err := direct.Do(request)
	if err != nil {
		return nil, reason(err, nil)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %d", response.StatusCode)
	}
	var document Document
	if err := json.UnmarshalRead(io.LimitReader(response.Body, maxDocument), &document); err != nil || document == nil {
		return nil, errors.New("it is not a JSON object")
	}
	return document, nil
}
