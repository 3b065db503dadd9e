// Package actors plays the people around the relay: owners, who publish KeyPackages, and requesters, who ask for them.
// They are ordinary Nostr clients on real websockets. They know nothing of the functions, and check the id and the
// signatures of everything they receive, as a careful client does.
//
// Owner and Requester are safe for concurrent use. Nothing waits longer than the context that it is given.
package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Key is a Nostr identity, in hex.
type Key struct {
	Secret string
	Pubkey string
}

// NewKey makes an identity that nobody has.
func NewKey() Key {
	secret := nostr.GeneratePrivateKey()
	pubkey, err := nostr.GetPublicKey(secret)
	if err != nil {
		panic(fmt.Sprintf("public key of a generated secret: %v", err)) // cannot happen
	}
	return Key{secret, pubkey}
}

// Sign completes the event with the key's id, public key and signature.
func (k Key) Sign(event *nostr.Event) error {
	if err := event.Sign(k.Secret); err != nil {
		return fmt.Errorf("sign a kind-%d event: %w", event.Kind, err)
	}
	return nil
}

// newEvent returns an unsigned event of now.
func newEvent(kind int, content string, tags ...nostr.Tag) *nostr.Event {
	return &nostr.Event{Kind: kind, CreatedAt: nostr.Now(), Tags: tags, Content: content}
}

// CheckRelayURL returns an error unless the URL is a relay's, as a flag -relay takes it.
func CheckRelayURL(relay string) error {
	u, err := url.Parse(relay)
	if err != nil || u.Hostname() == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return errors.New("-relay is not a websocket URL: ws:// or wss:// and a host")
	}
	return nil
}

// ExplainUnreachable adds to an error of a connection that nothing answers at the relay's URL how to get a relay there.
func ExplainUnreachable(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w; `go run ./emulator up` starts a relay at ws://127.0.0.1:7447, -relay names another one", err)
	}
	return err
}

// Announcement is what a relay's NIP-11 document says of KeyPackages.
type Announcement struct {
	Pubkey   string   `json:"pubkey"` // of who signs outcomes and notices: nobody else's are believed
	Outcome  int      `json:"outcome_kind"`
	Notice   int      `json:"notice_kind"`
	Requests []string `json:"requests"` // the ways to ask: REQ, 447
}

// ReadAnnouncement asks the relay at a websocket URL. It fails if the relay names no key.
func ReadAnnouncement(ctx context.Context, url string) (Announcement, error) {
	var document struct {
		KeyPackages Announcement `json:"keypackages"`
	}
	err := readDocument(ctx, url, &document)
	if err == nil && !keypackage.IsPubkey(document.KeyPackages.Pubkey) {
		err = errors.New("it names no key that outcomes and notices are signed with")
	}
	if err != nil {
		return Announcement{}, fmt.Errorf("NIP-11 document: %w", err)
	}
	return document.KeyPackages, nil
}

func readDocument(ctx context.Context, url string, document any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(url, "ws", "http", 1), nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/nostr+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	const maxBytes = 1 << 20 // far above any document that is meant to be read
	return json.NewDecoder(io.LimitReader(response.Body, maxBytes)).Decode(document)
}
