package store

import (
	"context"
	"slices"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

// Published implements publishing.Store.
func (s *Store) Published(ctx context.Context, p *keypackage.Package, slot string) (publishing.Published, error) {
	snaps, err := s.get(ctx, s.keyPackages.Doc(p.ID), s.tombstone(p.ID, p.Owner), s.ledger.Doc(p.Hash))
	var known publishing.Published
	if err == nil && slot != "" {
		known, err = s.slot(ctx, p.Owner, slot)
	}
	if err != nil {
		return known, err
	}
	known.Stored, known.Tombstoned, known.Use = snaps[0].Exists(), snaps[1].Exists(), ledgerUse(snaps[2])
	if _, watched := snaps[2].Data()["check_shard"]; known.Use == keypackage.UseReserve && !watched {
		known.Unwatched = snaps[2].UpdateTime
	}
	return known, nil
}

// slot reads what is in stock of a slot, without content, and up to when it was deleted.
func (s *Store) slot(ctx context.Context, owner, slot string) (publishing.Published, error) {
	var known publishing.Published
	deleted, err := s.one(ctx, s.tombstone(slot, owner))
	if err != nil {
		return known, err
	}
	known.SlotVersion = version(deleted)
	known.SlotDeleted, _ = deleted.Data()[keypackage.FieldCreatedAt].(int64)
	query := s.keyPackages.Where(keypackage.FieldOwner, "==", owner).Where(keypackage.FieldSlot, "==", slot)
	for snap, err := range results(ctx, query.Select(keypackage.FieldCreatedAt)) {
		if err != nil {
			return known, failed("read a slot", err)
		}
		created, _ := snap.Data()[keypackage.FieldCreatedAt].(int64)
		known.Slot = append(known.Slot, publishing.Version{ID: snap.Ref.ID, CreatedAt: created})
	}
	return known, nil
}

// Stock implements publishing.Store. A version of the slot that another instance adds at the same moment stays beside this one: claims
// take the newest, and the next version removes both.
func (s *Store) Stock(ctx context.Context, p *keypackage.Package, slot string, known publishing.Published, entry *keypackage.Ledger) error {
	t := s.begin()
	t.require(s.tombstone(p.ID, p.Owner), missing)
	if slot != "" {
		t.require(s.tombstone(slot, p.Owner), unchanged(known.SlotVersion))
	}
	if entry != nil {
		s.expose(t, *entry)
	} else {
		t.require(s.ledger.Doc(p.Hash), used(known.Use))
	}
	t.create(s.keyPackages.Doc(p.ID), map[string]any(p.Document))
	for _, older := range known.Slot {
		t.erase(s.keyPackages.Doc(older.ID))
	}
	return t.commit(ctx, "publish a KeyPackage")
}

// Expose implements publishing.Store. A claim at the same moment creates the same entry: one comes too late, and looks again.
func (s *Store) Expose(ctx context.Context, entry keypackage.Ledger) error {
	t := s.begin()
	s.expose(t, entry)
	return t.commit(ctx, "expose a KeyPackage")
}

// expose creates the entry, or has the one that is there looked at again: see Retirable.
func (s *Store) expose(t *transaction, entry keypackage.Ledger) {
	t.createOrUpdate(s.ledger.Doc(entry.Hash), entry.Version, entry, "check_shard", "check_at")
}

// deletableAtOnce bounds the memory of a deletion: a document that another relay wrote may have 1 MiB, and anybody may name it.
const deletableAtOnce = 10

// Deletable implements publishing.Store.
func (s *Store) Deletable(ctx context.Context, author string, ids, slots []string) (publishing.Deletable, error) {
	met := publishing.Deletable{InStock: make(map[string]bool), Slots: make(map[string]publishing.Published)}
	for few := range slices.Chunk(ids, deletableAtOnce) {
		snaps, err := s.get(ctx, docs(s.keyPackages, few)...)
		if err != nil {
			return met, err
		}
		for i, snap := range snaps {
			if snap.Exists() {
				met.InStock[few[i]] = keypackage.Document(snap.Data()).Text(keypackage.FieldOwner) == author
			}
		}
	}
	for _, slot := range slots {
		known, err := s.slot(ctx, author, slot)
		if err != nil {
			return met, err
		}
		met.Slots[slot] = known
	}
	return met, nil
}

// tombstone is the document of a deletion. Readers look at its existence only, and at created_at of a slot's: what is deleted until then.
type tombstone struct {
	Name      string    `firestore:"event_id"` // or the slot's id
	Owner     string    `firestore:"owner_pubkey"`
	CreatedAt int64     `firestore:"created_at,omitempty"`
	DeletedAt time.Time `firestore:"deleted_at"`
	KeepUntil time.Time `firestore:"keep_until"`
}

// Delete implements publishing.Store.
func (s *Store) Delete(ctx context.Context, author string, d publishing.Deletion) error {
	t := s.begin()
	for _, id := range d.IDs {
		if !slices.Contains(d.Remove, id) { // what has come into stock meanwhile may be another author's
			t.require(s.keyPackages.Doc(id), missing)
		}
		t.set(s.tombstone(id, author), tombstone{Name: id, Owner: author, DeletedAt: d.DeletedAt, KeepUntil: d.KeepUntil})
	}
	for _, id := range d.Remove {
		t.erase(s.keyPackages.Doc(id))
	}
	for slot, until := range d.Slots {
		ref := s.tombstone(slot, author)
		t.require(ref, unchanged(d.Known[slot].SlotVersion))
		t.set(ref, tombstone{Name: slot, Owner: author, CreatedAt: until, DeletedAt: d.DeletedAt, KeepUntil: d.KeepUntil})
	}
	return t.commit(ctx, "delete KeyPackages")
}

// AddRequest implements publishing.Store.
func (s *Store) AddRequest(ctx context.Context, id string, document map[string]any) (bool, error) {
	_, err := s.requests.Doc(id).Create(ctx, document)
	if !lostRace(err) {
		return err == nil, failed("store a request", err)
	}
	snap, readErr := s.one(ctx, s.requests.Doc(id))
	if readErr == nil && !snap.Exists() { // Firestore gives up contended writes, too: nothing may be stored
		return false, failed("store a request", err)
	}
	return false, readErr
}

// StockedBy implements publishing.Store.
func (s *Store) StockedBy(ctx context.Context, owner string, limit int) ([]string, error) {
	return s.events(ctx, s.keyPackages.Where(keypackage.FieldOwner, "==", owner).Limit(limit))
}

// Addressable implements publishing.Store. Only what has a slot costs a read; it needs the composite index (owner_pubkey, slot).
func (s *Store) Addressable(ctx context.Context, owners []string, limit int) ([]string, error) {
	var events []string
	for some := range slices.Chunk(owners, valuesAtOnce) {
		query := s.keyPackages.Where(keypackage.FieldOwner, "in", some).OrderBy(keypackage.FieldSlot, firestore.Asc)
		found, err := s.events(ctx, query.Limit(max(1, limit-len(events))))
		if err != nil {
			return nil, err
		}
		events = append(events, found...)
	}
	return events[:min(limit, len(events))], nil
}

func (s *Store) events(ctx context.Context, query firestore.Query) (events []string, err error) {
	for snap, err := range results(ctx, query.Select(keypackage.FieldEvent)) {
		if err != nil {
			return nil, failed("read the stock", err)
		}
		if event := keypackage.Document(snap.Data()).Text(keypackage.FieldEvent); event != "" {
			events = append(events, event)
		}
	}
	return events, nil
}
