package keypackage

import (
	"bytes"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nbd-wtf/go-nostr"
)

// Kinds of the Nostr events that this project reads and writes.
const (
	KindKeyPackage            = 443   // NIP-EE: a one-time KeyPackage, a regular event
	KindAddressableKeyPackage = 30443 // MIP-00: one KeyPackage per `d` slot, replaced by the owner
	KindRequest               = 447   // a signed request for an owner's KeyPackages
	KindOutcome               = 20447 // ephemeral, signed by the relay: what came of a request, for its requester
	KindLevel                 = 20448 // the same: the state of an owner's stock, for the owner
)

// MaxEventBytes bounds the JSON of an event that is parsed. A request for 32 owners needs 3 KB, a KeyPackage under 2 KB.
const MaxEventBytes = 128 << 10

// Errors of VerifyEvent.
var (
	ErrEventTooLarge  = errors.New("event is larger than 128 KiB")
	ErrEventMalformed = errors.New("event is not a Nostr event in JSON")
	ErrEventID        = errors.New("event id is not the hash of the event")
	ErrEventSignature = errors.New("event signature does not verify")
)

// VerifyEvent parses a signed event and verifies its id and its signature (NIP-01). It returns one of the ErrEvent errors;
// with ErrEventID and ErrEventSignature the parsed event comes along, because its kind may still matter.
//
// go-nostr's CheckSignature recomputes the hash and never looks at the id. It also takes a signature in upper case.
func VerifyEvent(raw string) (*nostr.Event, error) {
	event, err := ParseEvent([]byte(raw))
	if err != nil {
		return nil, err
	}
	if !event.CheckID() {
		return event, ErrEventID
	}
	if ok, err := event.CheckSignature(); err != nil || !ok || !isHex(event.Sig, 128) {
		return event, ErrEventSignature
	}
	return event, nil
}

// ParseEvent reads an event, of any kind, that every parser reads in the same way: otherwise another program might read in the
// same bytes what was not verified here. It takes I-JSON (RFC 7493: no repeated names, no lone surrogates, valid UTF-8, integers
// that a double can hold) without any null, with all the fields of NIP-01 under their exact names and of their exact types, the
// public key in lower-case hex. Other fields are ignored, unless a parser that ignores case would take one for a field of NIP-01.
//
// It verifies neither id nor signature. The error is ErrEventTooLarge or ErrEventMalformed, and repeats nothing of the event.
func ParseEvent(raw []byte) (*nostr.Event, error) {
	if len(raw) > MaxEventBytes {
		return nil, ErrEventTooLarge
	}
	var e wireEvent
	if json.Unmarshal(raw, &e) != nil || !e.complete() || hasNull(raw) {
		return nil, ErrEventMalformed
	}
	return &nostr.Event{
		ID: *e.ID, PubKey: e.PubKey, CreatedAt: nostr.Timestamp(*e.CreatedAt), Kind: int(*e.Kind),
		Tags: e.Tags, Content: *e.Content, Sig: *e.Sig,
	}, nil
}

// wireEvent is an event as it is written. Pointers tell what is missing from what is zero.
type wireEvent struct {
	ID        *string                   `json:"id"`
	PubKey    string                    `json:"pubkey"`
	CreatedAt *uint64                   `json:"created_at"`
	Kind      *uint16                   `json:"kind"`
	Tags      nostr.Tags                `json:"tags"`
	Content   *string                   `json:"content"`
	Sig       *string                   `json:"sig"`
	Others    map[string]jsontext.Value `json:",embed"`
}

// maxInteger is the largest integer that every JSON parser holds exactly (RFC 7493, section 2.2).
const maxInteger = 1<<53 - 1

func (e *wireEvent) complete() bool {
	return e.CreatedAt != nil && *e.CreatedAt <= maxInteger && e.Kind != nil && e.Tags != nil && e.Content != nil &&
		e.ID != nil && e.Sig != nil && IsPubkey(e.PubKey) && !e.hasLookalike()
}

// hasLookalike reports whether another field has a name of NIP-01 in another case, which Go's encoding/json takes for it.
func (e *wireEvent) hasLookalike() bool {
	for other := range e.Others {
		for _, name := range []string{"id", "pubkey", "created_at", "kind", "tags", "content", "sig"} {
			if strings.EqualFold(other, name) {
				return true
			}
		}
	}
	return false
}

// hasNull reports whether there is a null in valid JSON, at any depth. Parsers differ in what they make of it.
func hasNull(raw []byte) bool {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw))
	for token, err := d.ReadToken(); err == nil; token, err = d.ReadToken() {
		if token.Kind() == 'n' {
			return true
		}
	}
	return false
}

// IsPubkey and IsEventID report whether s is a public key, or an event's id, as Nostr writes it: 64 lowercase hex digits.
func IsPubkey(s string) bool  { return isHex(s, 64) }
func IsEventID(s string) bool { return isHex(s, 64) }

func isHex(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}

// tagValue returns the value of the first tag with that name, "" if there is none.
func tagValue(event *nostr.Event, name string) string {
	if tag := event.Tags.Find(name); tag != nil {
		return tag[1]
	}
	return ""
}
