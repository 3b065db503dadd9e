package keypackage

import (
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// Document is a document of the KeyPackages collection as the relay wrote it: field names to values as Firestore returns
// them. It is kept whole with a delivery, because a return to stock writes it back.
type Document map[string]any

// Field names of a KeyPackage document. The relay writes all of them but FieldFlaw.
const (
	FieldEventID     = "event_id"
	FieldOwner       = "owner_pubkey"
	FieldContent     = "content"
	FieldCiphersuite = "ciphersuite"
	FieldCreatedAt   = "created_at"
	FieldExpiresAt   = "expires_at"
	FieldEvent       = "event"
	FieldSlot        = "slot" // SlotID of a kind-30443 event; the gateway writes it, to find the version that it replaces
	FieldFlaw        = "flaw" // ours, a hint for people: why this package is not handed out
)

// Text returns the field as a string, or "" if it is missing or of another type.
func (d Document) Text(field string) string {
	s, _ := d[field].(string)
	return s
}

// End returns the end of its package that the document itself tells. Nothing, zero, what lies before 1970 and what cannot be
// read are no end: then the package ends with its MLS lifetime. Whoever removes what is over and whoever hands out what is
// not must read it here.
func (d Document) End() (end time.Time, ok bool) {
	end, ok = d.Time(FieldExpiresAt)
	return end, ok && end.Unix() > 0
}

// Time returns a field that holds integer Unix seconds or a Firestore timestamp. Seconds before 1970 or after the year
// 9999 are no time: nobody means them, and what is derived from them could not be stored.
func (d Document) Time(field string) (t time.Time, ok bool) {
	switch v := d[field].(type) {
	case int64:
		return time.Unix(v, 0).UTC(), v >= 0 && v <= mls.EndOfTime
	case time.Time:
		return v.UTC(), true
	}
	return time.Time{}, false
}
