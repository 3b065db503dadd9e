package publishing

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// MaxDeletionTags is how many `e` and `a` tags of one deletion count: each may cost a read, a write and a delete.
const MaxDeletionTags = 100

// Delete carries out a deletion request (NIP-09, kind 5) for the author's KeyPackages: those in stock, those on their way to a
// requester, and those that are yet to come over another connection. The id of anybody else's event buries nothing, because
// tombstones carry their author's key in the name.
func (p *Publisher) Delete(ctx context.Context, e Event) (Answer, error) {
	ids, slots := deleted(e)
	if len(ids)+len(slots) == 0 {
		return accepted(), nil
	}
	return contend(ctx, "delete_failed", func() (Answer, error) {
		met, err := p.store.Deletable(ctx, e.PubKey, ids, slots)
		if err != nil {
			return Answer{}, err
		}
		deletion := p.deletion(e, ids, met)
		if len(deletion.IDs)+len(deletion.Slots) > 0 {
			err = p.store.Delete(ctx, e.PubKey, deletion)
		}
		return accepted(), err
	})
}

// deletion decides what gets a tombstone. An id that is not in stock may be that of a KeyPackage all the same, unless the request
// says that it is about other kinds only. A slot's tombstone never goes back in time.
func (p *Publisher) deletion(e Event, ids []string, met Deletable) Deletion {
	now := p.now()
	d := Deletion{Slots: map[string]int64{}, Known: met.Slots, DeletedAt: now, KeepUntil: now.Add(keypackage.TombstoneRetention)}
	ours := []string{strconv.Itoa(keypackage.KindKeyPackage), strconv.Itoa(keypackage.KindAddressableKeyPackage)}
	others := e.Tags.Find("k") != nil && !e.Tags.ContainsAny("k", ours)
	for _, id := range ids {
		switch owns, inStock := met.InStock[id]; {
		case owns:
			d.IDs, d.Remove = append(d.IDs, id), append(d.Remove, id)
		case !inStock && !others:
			d.IDs = append(d.IDs, id)
		}
	}
	until := int64(e.CreatedAt)
	for slot, known := range met.Slots {
		if until > known.SlotDeleted {
			d.Slots[slot] = until
		}
		for _, version := range known.Slot {
			if version.CreatedAt <= until && !slices.Contains(d.Remove, version.ID) {
				d.IDs, d.Remove = append(d.IDs, version.ID), append(d.Remove, version.ID)
			}
		}
	}
	return d
}

// deleted returns the ids and the slots that a deletion names, each once.
func deleted(e Event) (ids, slots []string) {
	for _, tag := range e.Tags {
		if len(ids)+len(slots) == MaxDeletionTags {
			break
		}
		switch {
		case len(tag) < 2:
		case tag[0] == "e" && keypackage.IsEventID(tag[1]) && !slices.Contains(ids, tag[1]):
			ids = append(ids, tag[1])
		case tag[0] == "a":
			if slot, ok := slotAt(tag[1], e.PubKey); ok && !slices.Contains(slots, slot) {
				slots = append(slots, slot)
			}
		}
	}
	return ids, slots
}

// slotAt reads an address, kind:author:d (NIP-01). It is nobody's business but the author's.
func slotAt(address, author string) (slot string, ok bool) {
	kind, rest, _ := strings.Cut(address, ":")
	owner, d, found := strings.Cut(rest, ":")
	if !found || kind != strconv.Itoa(keypackage.KindAddressableKeyPackage) || owner != author {
		return "", false
	}
	return keypackage.SlotID(author, d), true
}

// NewestFirst is the order in which relays serve events (NIP-01): of two as old the one with the lower id first.
func NewestFirst(a, b Event) int {
	return cmp.Or(cmp.Compare(b.CreatedAt, a.CreatedAt), cmp.Compare(a.ID, b.ID))
}
