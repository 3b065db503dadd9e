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

	"github.com/keypackage-delivery/keypackage-delivery/shared/gateway/wire"
)

const (
	// maxFrame bounds a message of the relay: twice what relays usually take themselves.
	maxFrame = 1 << 20
	// patience is how long the relay may be silent while something is asked of it.
	patience = 30 * time.Second
)

// relay is a connection to a relay. It reads the frames itself instead of leaving that to go-nostr's Relay, which drops what
// does not verify without a word, and re-encodes the rest: what goes into stock is what was signed, byte for byte.
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

// errClosed is that the relay has refused a subscription.
type errClosed string

func (e errClosed) Error() string {
	if e.wantsLogin() {
		return fmt.Sprintf("the relay wants to know who asks (%q): -key-file names a file with a secret key", string(e))
	}
	return fmt.Sprintf("the relay refuses: %q", string(e))
}

func (e errClosed) wantsLogin() bool { return strings.HasPrefix(string(e), "auth-required:") }

// login authenticates, if there is a key and the relay has a challenge. Relays send it when the connection opens, or when
// something is asked that needs it; so something is asked first.
func (r *relay) login(ctx context.Context, secret string) error {
	if secret == "" {
		return nil
	}
	err := r.stored(ctx, nostr.Filter{Kinds: kinds, Limit: 1}, func(string) error { return nil })
	if closed, ok := errors.AsType[errClosed](err); err != nil && (!ok || !closed.wantsLogin()) {
		return err
	}
	if r.challenge == "" {
		return nil
	}
	event := nip42.CreateUnsignedAuthEvent(r.challenge, "", r.url)
	if err := event.Sign(secret); err != nil {
		return errors.New("authenticate: the secret key is not one")
	}
	if err := r.send(ctx, nostr.AuthEnvelope{Event: event}); err != nil {
		return err
	}
	return r.accepted(ctx, event.ID)
}

// accepted waits for the answer to an authentication.
func (r *relay) accepted(ctx context.Context, id string) error {
	for {
		f, err := r.next(ctx)
		if err != nil {
			return err
		}
		if f.label != "OK" || f.subject != id {
			continue
		}
		if f.rest.Bool(0) {
			return nil
		}
		return fmt.Errorf("the relay does not accept the authentication: %q", f.text(1))
	}
}

// stored asks for what the relay has and calls take for each event, as the relay wrote it. It returns at the end of what is
// stored, or an errClosed.
func (r *relay) stored(ctx context.Context, filter nostr.Filter, take func(raw string) error) error {
	r.asked++
	id := fmt.Sprintf("import-%d", r.asked)
	if err := r.send(ctx, nostr.ReqEnvelope{SubscriptionID: id, Filters: nostr.Filters{filter}}); err != nil {
		return err
	}
	for {
		f, err := r.next(ctx)
		switch {
		case err != nil:
			return err
		case f.subject != id:
		case f.label == "EVENT" && len(f.rest) == 1:
			if err := take(string(f.rest[0])); err != nil {
				return err
			}
		case f.label == "EOSE":
			return r.send(ctx, nostr.CloseEnvelope(id))
		case f.label == "CLOSED":
			return errClosed(f.text(0))
		}
	}
}

func (r *relay) send(ctx context.Context, message json.Marshaler) error {
	frame, err := message.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	if err := r.conn.Write(ctx, websocket.MessageText, frame); err != nil {
		return fmt.Errorf("connection to %s lost: %w", r.url, err)
	}
	return nil
}

// frame is a message of the relay: a label, what it is about, and the rest.
type frame struct {
	label, subject string
	rest           wire.Elements
}

// text returns one of the rest, for people.
func (f frame) text(i int) string {
	text, _ := f.rest.Text(i) // what is not a string says nothing
	return text
}

// next reads a message, and keeps the challenge if it is one. What is not a message of NIP-01 is skipped.
func (r *relay) next(ctx context.Context) (frame, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("nothing came for %v", patience))
	defer cancel()
	for {
		_, text, err := r.conn.Read(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return frame{}, fmt.Errorf("connection to %s lost: %w", r.url, err)
		}
		f, ok := readFrame(text)
		if !ok {
			continue
		}
		if f.label == "AUTH" {
			r.challenge = f.subject
		}
		return f, nil
	}
}

// readFrame is loose about what it takes apart: what becomes of an event is for those to say who verify it.
func readFrame(text []byte) (f frame, ok bool) {
	label, err := wire.Label(text)
	if err != nil {
		return f, false
	}
	elements, err := wire.SplitLoosely(text)
	if err != nil {
		return f, false
	}
	subject, ok := elements.Text(0)
	if !ok {
		return f, false
	}
	return frame{label, subject, elements[1:]}, true
}
