package relay

import (
	"encoding/base64"
	"strconv"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// keyPackageDocument is the document of a kind-443 or kind-30443 event. Tags are read under the names of all generations
// of clients.
func keyPackageDocument(event *nostr.Event) keypackage.Document {
	document := keypackage.Document{
		keypackage.FieldEventID:     event.ID,
		keypackage.FieldOwner:       event.PubKey,
		keypackage.FieldContent:     canonicalContent(event.Content),
		keypackage.FieldCiphersuite: firstValue(event, "mls_ciphersuite", "ciphersuite"),
		keypackage.FieldCreatedAt:   int64(event.CreatedAt),
		"extensions":                values(event, "mls_extensions", "extensions"),
		"relays":                    values(event, "relays"),
	}
	if expires, ok := expiry(event); ok {
		document[keypackage.FieldExpiresAt] = expires
	}
	return document
}

// canonicalContent is the KeyPackage in standard base64, however it was written; content that holds none stays as it is.
func canonicalContent(content string) string {
	inner, err := mls.DecodeContent(content)
	if err != nil {
		return content
	}
	return base64.StdEncoding.EncodeToString(inner)
}

// expiry is what the event says of it: NIP-40's tag, or the older exp.
func expiry(event *nostr.Event) (int64, bool) {
	expires, err := strconv.ParseInt(firstValue(event, "expiration", "exp"), 10, 64)
	return expires, err == nil
}

// firstValue returns the value of the first of the tags that the event has, or "".
func firstValue(event *nostr.Event, names ...string) string {
	for _, name := range names {
		if tag := event.Tags.Find(name); tag != nil {
			return tag[1]
		}
	}
	return ""
}

// values returns all values of the first of the tags that the event has.
func values(event *nostr.Event, names ...string) []string {
	for _, name := range names {
		if tag := event.Tags.Find(name); tag != nil {
			return tag[1:]
		}
	}
	return []string{}
}

func requestDocument(event *nostr.Event, raw string, received time.Time) map[string]any {
	return map[string]any{
		"event":       raw,
		"kind":        event.Kind,
		"pubkey":      event.PubKey,
		"created_at":  int64(event.CreatedAt),
		"received_at": received,
		"open":        keypackage.NewMark(),
	}
}

func tombstoneDocument(id, owner string, deleted time.Time) map[string]any {
	return map[string]any{"event_id": id, "owner_pubkey": owner, "deleted_at": deleted}
}
