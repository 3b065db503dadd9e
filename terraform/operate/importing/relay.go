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

// errLogin is the cure for a relay that serves only whom it knows.
var errLogin = errors.New("-key-file names a file with a secret key to authenticate with")

// login authenticates, if there is a key and the relay has a challenge. Relays send it when the connection opens, or when
// something is asked that needs it; so something is asked first.
func (r *relay) login(ctx context.Context, secret string) error {
	if secret == "" {
		return nil
	}
	err := r.stored(ctx, nostr.Filter{Kinds: kinds, Limit: 1}, func(string) error { return nil })
	if err != nil && !errors.Is(err, errLogin) || r.challenge == "" {
		return err
	}
	event := nip42.CreateUnsignedAuthEvent(r.challenge, "", r.url)
	if err := event.Sign(secret); err != nil {
		return errors.New("authenticate: the secret key is not one")
	}
	return r.exchange(ctx, nostr.AuthEnvelope{Event: event}, event.ID, func(label string, rest wire.Elements) (bool, error) {
		if label == "OK" && !rest.Bool(0) {
			return true, fmt.Errorf("the relay does not accept the authentication: %q", text(rest, 1))
		}
		return label == "OK", nil
	})
}

// stored asks for what the relay has and calls take for each event, as the relay wrote it. It returns at the end of what is
// stored.
func (r *relay) stored(ctx context.Context, filter nostr.Filter, take func(raw string) error) error {
	r.asked++
	id := fmt.Sprintf("import-%d", r.asked)
	request := nostr.ReqEnvelope{SubscriptionID: id, Filters: nostr.Filters{filter}}
	return r.exchange(ctx, request, id, func(label string, rest wire.Elements) (bool, error) {
		switch {
		case label == "EVENT" && len(rest) == 1:
			return false, take(string(rest[0]))
		case label == "EOSE":
			return true, r.send(ctx, nostr.CloseEnvelope(id))
		case label == "CLOSED" && strings.HasPrefix(text(rest, 0), "auth-required:"):
			return true, fmt.Errorf("the relay refuses: %q; %w", text(rest, 0), errLogin)
		case label == "CLOSED":
			return true, fmt.Errorf("the relay refuses: %q", text(rest, 0))
		}
		return false, nil
	})
}

// exchange sends a message and hands each answer about its subject, a label and what follows the subject, to hear, until that has
// heard enough. What is not a message of NIP-01 is skipped, and a challenge is kept.
func (r *relay) exchange(
	ctx context.Context, message json.Marshaler, about string, hear func(label string, rest wire.Elements) (enough bool, err error),
) error {
	if err := r.send(ctx, message); err != nil {
		return err
	}
	for {
		frame, err := r.read(ctx)
		if err != nil {
			return err
		}
		label, elements := readFrame(frame)
		subject := text(elements, 0)
		if label == "AUTH" {
			r.challenge = subject
		} else if label != "" && subject == about {
			if enough, err := hear(label, elements[1:]); enough || err != nil {
				return err
			}
		}
	}
}

func (r *relay) send(ctx context.Context, message json.Marshaler) error {
	frame, err := message.MarshalJSON()
	if err == nil {
		err = r.conn.Write(ctx, websocket.MessageText, frame)
	}
	if err != nil {
		return fmt.Errorf("connection to %s lost: %w", r.url, err)
	}
	return nil
}

func (r *relay) read(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("nothing came for %v", patience))
	defer cancel()
	_, frame, err := r.conn.Read(ctx)
	if err == nil {
		return frame, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, fmt.Errorf("connection to %s lost: %w", r.url, err)
}

// readFrame is loose about what it takes apart: what becomes of an event is for those to say who verify it. The label of what is
// no message is "".
func readFrame(frame []byte) (label string, elements wire.Elements) {
	label, err := wire.Label(frame)
	if err == nil {
		elements, err = wire.SplitLoosely(frame)
	}
	if err != nil || len(elements) == 0 {
		return "", nil
	}
	return label, elements
}

// text returns an element that is a string, or "".
func text(elements wire.Elements, i int) string {
	text, _ := elements.Text(i)
	return text
}
