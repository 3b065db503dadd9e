package keypackage

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// TombstoneID returns the document id of the tombstone of an event, or of a slot. With the author in it nobody can delete
// another's event, and a deletion may come before what it deletes.
func TombstoneID(id, author string) string { return id + "_" + author }

// TombstoneRetention is how long a deletion is remembered, at the least: longer than a KeyPackage that was published before
// could be valid (its lifetime is bounded to 84 days and an hour, but may begin later).
const TombstoneRetention = 180 * 24 * time.Hour

// SlotID names the slot of an addressable KeyPackage: the hash of kind:author:d (NIP-01), since `d` may be anything.
func SlotID(author, d string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s:%s", KindAddressableKeyPackage, author, d))
	return hex.EncodeToString(sum[:])
}
