package publishing

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// KeyPackage takes in a 443 or 30443. What no claim would hand out is refused with the flaw, so that its owner learns why
// nobody could add her. With shared anybody may have seen it: it counts as handed out as a reserve, also if it is in stock.
func (p *Publisher) KeyPackage(ctx context.Context, e Event, shared bool) (Answer, error) {
	document := keyPackageDocument(e)
	slot := document.Text(keypackage.FieldSlot)
	inspected := keypackage.Inspect(e.ID, document, p.settings.Policy)
	switch {
	case inspected.Flaw != "":
		return invalid(inspected.Flaw), nil
	case inspected.Expired(p.now()):
		return invalid(keypackage.UnusableExpired), nil
	}
	if inspected.Suite != 0 { // stock is counted by it
		document[keypackage.FieldCiphersuite] = keypackage.SuiteKey(inspected.Suite)
	}
	count, err := p.store.CountSuite(ctx, e.PubKey, "", p.settings.MaxStock)
	if err != nil {
		return Answer{}, err
	}
	return contend(ctx, "publish_failed", func() (Answer, error) {
		known, err := p.store.Published(ctx, &inspected, slot)
		if err != nil {
			return Answer{}, err
		}
		answer, done := p.answer(&inspected, known, count)
		switch entry := p.exposure(&inspected, known, shared); {
		case !done:
			err = p.store.Stock(ctx, &inspected, slot, known, entry)
		case known.Stored && entry != nil:
			err = p.store.Expose(ctx, *entry)
		}
		return answer, err
	})
}

// answer says what becomes of a KeyPackage, and whether that is done without putting it in stock.
func (p *Publisher) answer(kp *keypackage.Package, known Published, count int) (Answer, bool) {
	newer := func(v Version) bool { // NIP-01
		return v.CreatedAt > kp.CreatedAt || v.CreatedAt == kp.CreatedAt && v.ID < kp.ID
	}
	switch {
	case known.Stored:
		return duplicate("already have this KeyPackage"), true
	case known.Use == keypackage.UseOneTime:
		return duplicate("this KeyPackage has been handed out"), true
	case known.Tombstoned, known.SlotDeleted != 0 && kp.CreatedAt <= known.SlotDeleted:
		return blocked("its author has deleted this event"), true
	case slices.ContainsFunc(known.Slot, newer):
		return duplicate("have a newer version"), true
	case count >= p.settings.MaxStock && len(known.Slot) == 0:
		return blocked("too many KeyPackages in stock"), true
	}
	return accepted(), false
}

// exposure is the ledger entry of what anybody may have seen; nil if there is one already that somebody watches. Bytes that
// were retired and are published again have one that nobody does.
func (p *Publisher) exposure(kp *keypackage.Package, known Published, shared bool) *keypackage.Ledger {
	entry := keypackage.NewLedger(kp, keypackage.UseReserve, "", p.now())
	entry.Version = known.Unwatched
	if shared && known.Use == keypackage.UseNone || !known.Unwatched.IsZero() && entry.CheckShard != 0 {
		return &entry
	}
	return nil
}

// Own returns the KeyPackages of kind 443 that an owner has in stock, in the order of NewestFirst.
func (p *Publisher) Own(ctx context.Context, owner string) ([]Event, error) {
	raw, err := p.store.StockedBy(ctx, owner, p.settings.MaxStock)
	return readable(raw, keypackage.KindKeyPackage), err
}

// maxAddressable bounds what is read of all the owners of one REQ: each has a slot for each of her devices.
const maxAddressable = 500

// Addressable returns the KeyPackages of kind 30443 that owners have in stock, in the same order.
func (p *Publisher) Addressable(ctx context.Context, owners []string) ([]Event, error) {
	raw, err := p.store.Addressable(ctx, owners, maxAddressable)
	return readable(raw, keypackage.KindAddressableKeyPackage), err
}

// readable verifies again what is in stock: other relays write there, too.
func readable(raw []string, kind int) []Event {
	events := make([]Event, 0, len(raw))
	for _, text := range raw {
		if event, err := keypackage.VerifyEvent(text); err == nil && event.Kind == kind {
			events = append(events, Event{event, text})
		}
	}
	slices.SortFunc(events, NewestFirst)
	return events
}

// keyPackageDocument is the document of a kind-443 or kind-30443 event. Tags are read under the names of all generations of
// clients.
func keyPackageDocument(e Event) keypackage.Document {
	content := e.Content // that holds no KeyPackage stays as it is
	if inner, err := mls.DecodeContent(content); err == nil {
		content = base64.StdEncoding.EncodeToString(inner)
	}
	document := keypackage.Document{
		keypackage.FieldEventID:     e.ID,
		keypackage.FieldOwner:       e.PubKey,
		keypackage.FieldContent:     content,
		keypackage.FieldCiphersuite: firstValue(e, "mls_ciphersuite", "ciphersuite"),
		keypackage.FieldCreatedAt:   int64(e.CreatedAt),
		keypackage.FieldEvent:       e.Raw,
		"extensions":                values(e, "mls_extensions", "extensions"),
		"relays":                    values(e, "relays"),
	}
	if e.Kind == keypackage.KindAddressableKeyPackage {
		document[keypackage.FieldSlot] = keypackage.SlotID(e.PubKey, e.Tags.GetD())
	}
	if expires, err := strconv.ParseInt(firstValue(e, "expiration", "exp"), 10, 64); err == nil { // NIP-40's tag, or the older one
		document[keypackage.FieldExpiresAt] = expires
	}
	return document
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
