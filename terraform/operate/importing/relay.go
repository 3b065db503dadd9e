package importing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip42"
)

const (
	maxFrame = 1 << 20          // of a message of the relay: twice what relays usually take themselves
	patience = 30 * time.Second // with a relay that is silent while something is asked of it
)

// relay is a connection to a relay. go-nostr's Relay would drop what does not verify without a word, and re-encode the rest: what
// goes into stock is what was signed, byte for byte.
type relay struct {
	conn      *websocket.Conn
	url       string
	challenge string // the last one (NIP-42)
	asked     int    // subscriptions so far
}

func dial(ctx context.Context, url string) (*relay, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	conn.SetReadLimit(maxFrame)
	return &relay{conn: conn, url: url}, nil
}

func (r *relay) close() { _ = r.conn.Close(websocket.StatusNormalClosure, "") }

// errLogin is the cure for a relay that serves only whom it knows.
var errLogin = errors.New("-key-file names a file with a secret key to authenticate with")

// login authenticates, if there is a key and the relay has a challenge. Some send it only when something is asked that needs it.
func (r *relay) login(ctx context.Context, secret string) error {
	if secret == "" {
		return nil
	}
	ignore := func(string) error { return nil }
	err := r.stored(ctx, nostr.Filter{Kinds: kinds, Limit: 1}, ignore)
	if err != nil && !errors.Is(err, errLogin) || r.challenge == "" {
		return err
	}
	event := nip42.CreateUnsignedAuthEvent(r.challenge, "", r.url)
	if err := event.Sign(secret); err != nil {
		return errors.New("authenticate: the secret key is not one")
	}
	return r.exchange(ctx, nostr.AuthEnvelope{Event: event}, event.ID, ignore)
}

// stored asks for what the relay has and calls take for each event, as the relay wrote it, up to the end of what is stored.
func (r *relay) stored(ctx context.Context, filter nostr.Filter, take func(raw string) error) error {
	r.asked++
	id := fmt.Sprintf("import-%d", r.asked)
	request := nostr.ReqEnvelope{SubscriptionID: id, Filters: nostr.Filters{filter}}
	if err := r.exchange(ctx, request, id, take); err != nil {
		return err
	}
	return r.send(ctx, nostr.CloseEnvelope(id))
}

// exchange sends a message, and hears what the relay says about its subject until that is an answer: OK, EOSE or CLOSED.
func (r *relay) exchange(ctx context.Context, sent json.Marshaler, about string, take func(raw string) error) error {
	if err := r.send(ctx, sent); err != nil {
		return err
	}
	for {
		m, err := r.read(ctx)
		if err != nil {
			return err
		}
		switch label := m.text(0); {
		case label == "AUTH":
			r.challenge = m.text(1)
		case m.text(1) != about:
		case label == "EVENT" && len(m) == 3:
			if err := take(string(m[2])); err != nil {
				return err
			}
		case label == "EOSE", label == "OK" && len(m) > 2 && string(m[2]) == "true":
			return nil
		case label == "OK":
			return fmt.Errorf("the relay does not accept the authentication: %q", m.text(3))
		case label == "CLOSED" && strings.HasPrefix(m.text(2), "auth-required:"):
			return fmt.Errorf("the relay refuses: %q; %w", m.text(2), errLogin)
		case label == "CLOSED":
			return fmt.Errorf("the relay refuses: %q", m.text(2))
		}
	}
}

func (r *relay) send(ctx context.Context, message json.Marshaler) error {
	frame, err := message.MarshalJSON()
	if err == nil {
		err = r.conn.Write(ctx, websocket.MessageText, frame)
	}
	return r.lost(err)
}

// message is one of NIP-01. What becomes of an event in it is for those to say who verify it.
type message []json.RawMessage

func (m message) text(i int) (text string) {
	if i < len(m) {
		_ = json.Unmarshal(m[i], &text)
	}
	return text
}

// read returns the next frame; one that is not a message has no text.
func (r *relay) read(ctx context.Context) (m message, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("nothing came for %v", patience))
	defer cancel()
	_, frame, err := r.conn.Read(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	_ = json.Unmarshal(frame, &m)
	return m, r.lost(err)
}

func (r *relay) lost(err error) error {
	if err != nil {
		err = fmt.Errorf("connection to %s lost: %w", r.url, err)
	}
	return err
}
