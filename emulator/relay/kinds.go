package relay

import (
	"slices"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

func isKeyPackage(kind int) bool {
	return kind == keypackage.KindKeyPackage || kind == keypackage.KindAddressableKeyPackage
}

// isEventID reports whether s can be the id of an event: like a public key, 64 lowercase hex digits.
func isEventID(s string) bool { return keypackage.IsPubkey(s) }

func asksForKeyPackages(filter nostr.Filter) bool {
	return filter.Kinds == nil || slices.ContainsFunc(filter.Kinds, isKeyPackage)
}

// awaitsKeyPackages reports whether a delivery to the requester could match the filter. It is never delivered its own
// KeyPackages, so an owner who looks at its stock awaits none.
func awaitsKeyPackages(filter nostr.Filter, requester string) bool {
	isOther := func(author string) bool { return author != requester }
	return asksForKeyPackages(filter) && (filter.Authors == nil || slices.ContainsFunc(filter.Authors, isOther))
}

// readsOwn reports whether the reader's own KeyPackages could match the filter.
func readsOwn(filter nostr.Filter, reader string) bool {
	return asksForKeyPackages(filter) && (filter.Authors == nil || slices.Contains(filter.Authors, reader))
}
