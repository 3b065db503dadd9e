package publishing

import (
	"encoding/base64"
	"strconv"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// keyPackageDocument is the document of a kind-443 or kind-30443 event. Tags are read under the names of all generations of
// clients.
func keyPackageDocument(e Event) keypackage.Document {
	document := keypackage.Document{
		keypackage.FieldEventID:     e.ID,
		keypackage.FieldOwner:       e.PubKey,
		keypackage.FieldContent:     canonicalContent(e.Content),
		keypackage.FieldCiphersuite: firstValue(e, "mls_ciphersuite", "ciphersuite"),
		keypackage.FieldCreatedAt:   int64(e.CreatedAt),
		keypackage.FieldEvent:       e.Raw,
		"extensions":                values(e, "mls_extensions", "extensions"),
		"relays":                    values(e, "relays"),
	}
	if slot := slotOf(e); slot != "" {
		document[keypackage.FieldSlot] = slot
	}
	if expires, err := strconv.ParseInt(firstValue(e, "expiration", "exp"), 10, 64); err == nil { // NIP-40's tag, or the older one
		document[keypackage.FieldExpiresAt] = expires
	}
	return document
}

// slotOf names the slot of an addressable event; "" for others.
func slotOf(e Event) string {
	if e.Kind != keypackage.KindAddressableKeyPackage {
		return ""
	}
	return keypackage.SlotID(e.PubKey, e.Tags.GetD())
}

// canonicalContent is the KeyPackage in standard base64, however it was written; content that holds none stays as it is.
func canonicalContent(content string) string {
	inner, err := mls.DecodeContent(content)
	if err != nil {
		return content
	}
	return base64.StdEncoding.EncodeToString(inner)
}

// firstValue returns the value of the first of the tags that the event has, or "".
func firstValue(e Event, names ...string) string {
	if found := values(e, names...); len(found) > 0 {
		return found[0]
	}
	return ""
}

// values returns all values of the first of the tags that the event has.
func values(e Event, names ...string) []string {
	for _, name := range names {
		if tag := e.Tags.Find(name); tag != nil {
			return tag[1:]
		}
	}
	return []string{}
}

func requestDocument(e Event, received time.Time, gateway bool) map[string]any {
	return map[string]any{
		keypackage.FieldEvent:      e.Raw,
		keypackage.FieldKind:       e.Kind,
		"pubkey":                   e.PubKey,
		keypackage.FieldCreatedAt:  int64(e.CreatedAt),
		keypackage.FieldReceivedAt: received,
		keypackage.FieldOpen:       keypackage.NewMark(),
		keypackage.FieldGateway:    gateway,
	}
}
