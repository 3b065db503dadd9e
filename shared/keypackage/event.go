package keypackage

import (
	"encoding/json"
	"errors"

	"github.com/nbd-wtf/go-nostr"
)

// Kinds of the Nostr events that this project reads.
const (
	KindKeyPackage            = 443   // NIP-EE: a one-time KeyPackage, a regular event
	KindAddressableKeyPackage = 30443 // MIP-00: one KeyPackage per `d` slot, replaced by the owner
	KindRequest               = 447   // a signed request for an owner's KeyPackages
)

// MaxEventBytes bounds the JSON of a signed event that is looked at. A request for 32 owners needs about 3 KB, a
// KeyPackage under 2 KB; what is larger is not worth the memory of parsing it.
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
// Both checks are needed: go-nostr's CheckSignature recomputes the hash and never looks at the id. It also takes a public
// key in upper case, under which one person would be many.
func VerifyEvent(raw string) (*nostr.Event, error) {
	event, err := parseEvent(raw)
	if err != nil {
		return nil, err
	}
	if !IsPubkey(event.PubKey) {
		return nil, ErrEventMalformed
	}
	if !event.CheckID() {
		return event, ErrEventID
	}
	if ok, err := event.CheckSignature(); err != nil || !ok {
		return event, ErrEventSignature
	}
	return event, nil
}

// parseEvent reads the fields of NIP-01 and ignores others, as relays and clients do. go-nostr's own decoder fails at a
// field that it does not know, and lets invalid syntax pass.
func parseEvent(raw string) (*nostr.Event, error) {
	if len(raw) > MaxEventBytes {
		return nil, ErrEventTooLarge
	}
	var fields struct {
		ID        string          `json:"id"`
		PubKey    string          `json:"pubkey"`
		CreatedAt nostr.Timestamp `json:"created_at"`
		Kind      int             `json:"kind"`
		Tags      nostr.Tags      `json:"tags"`
		Content   string          `json:"content"`
		Sig       string          `json:"sig"`
	}
	if json.Unmarshal([]byte(raw), &fields) != nil { // its error would repeat parts of the event
		return nil, ErrEventMalformed
	}
	event := nostr.Event(fields)
	return &event, nil
}

// IsPubkey reports whether s is a public key as Nostr writes it: 64 lowercase hex digits.
func IsPubkey(s string) bool { return isHex64(s) }

// IsEventID reports whether s is an event's id as Nostr writes it: 64 lowercase hex digits.
func IsEventID(s string) bool { return isHex64(s) }

func isHex64(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// tagValue returns the value of the first tag with that name, and whether there is one.
func tagValue(event *nostr.Event, name string) (string, bool) {
	for _, tag := range event.Tags {
		if len(tag) >= 2 && tag[0] == name {
			return tag[1], true
		}
	}
	return "", false
}
