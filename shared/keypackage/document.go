package keypackage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// Document is a document of the KeyPackages collection as the relay wrote it: field names to values as Firestore returns
// them. It is kept whole with a delivery, because a return to stock writes it back.
type Document map[string]any

// ErrConflict says that what a write relied on had changed since it was read. Nothing was written; read and decide again.
var ErrConflict = errors.New("lost a race")

// ErrUnreadable says that a document is not what its collection holds. Nothing may wait for it: it needs somebody to look at it.
var ErrUnreadable = errors.New("the document cannot be read")

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

// Created returns created_at, and whether it is what it should be: integer Unix seconds. A timestamp and a number with a
// fraction are dates, too; for anything else it returns the zero time.
func (d Document) Created() (created time.Time, integer bool) {
	switch v := d[FieldCreatedAt].(type) {
	case int64:
		return unix(v), true
	case float64:
		if v >= 0 && v <= mls.EndOfTime {
			return unix(int64(v)), false
		}
	case time.Time:
		return unix(v.Unix()), false
	}
	return time.Time{}, false
}

// End returns expires_at, integer Unix seconds or a timestamp, and whether there is one. What is zero, negative, beyond the year
// 9999 or of another type is none: it could not be stored again. Whoever claims and whoever removes must read it so.
func (d Document) End() (end time.Time, ok bool) {
	switch v := d[FieldExpiresAt].(type) {
	case int64:
		end = unix(v)
	case time.Time:
		end = v.UTC()
	}
	return end, end.Unix() > 0
}

// unix returns the zero time for seconds that are no time that Firestore can store, or before 1970.
func unix(seconds int64) time.Time {
	if seconds < 0 || seconds > mls.EndOfTime {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// IsName reports whether documents can be named after s, also with a public key before or behind it: Firestore bounds names to
// 1,500 bytes, divides paths at slashes, and reserves one dot, two, and what begins and ends with two underscores.
func IsName(s string) bool {
	return s != "" && len(s) <= 1400 && s != "." && s != ".." && !strings.HasPrefix(s, "__") && !strings.Contains(s, "/")
}

// Size returns about how many bytes the document takes in memory, on the wire and in a transaction.
func (d Document) Size() int { return sizeOf(map[string]any(d)) }

func sizeOf(value any) int {
	const flat = 8 // a number, a time, or what a value costs besides its content
	size := flat
	switch v := value.(type) {
	case string:
		size += len(v)
	case []byte:
		size += len(v)
	case []any:
		for _, element := range v {
			size += sizeOf(element)
		}
	case []string: // as it is before it is stored
		for _, element := range v {
			size += sizeOf(element)
		}
	case map[string]any:
		for name, field := range v {
			size += len(name) + sizeOf(field)
		}
	}
	return size
}

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

// Shards is how many parts an index has, with a shard in front of a time that only rises: without one it takes about 500 writes a
// second, because all meet at its end (https://cloud.google.com/firestore/native/docs/best-practices).
const Shards = 64

// NewMark returns the value of the field "open" for a new request document: a random integer from 0 to Shards-1.
func NewMark() int { return rand.IntN(Shards) }

// marked reports whether a value is one that NewMark returns, as Firestore returns it.
func marked(value any) bool {
	shard, ok := value.(int64)
	return ok && shard >= 0 && shard < Shards
}

// shardOf returns a number from 1 to Shards, the same for the same id. Zero is not written: the document is not in the index.
func shardOf(id string) int {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(id)) // never fails
	return 1 + int(sum.Sum32()%Shards)
}
