package invariants

import (
	"context"
	"fmt"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// State is what Firestore holds. Stock is keyed by event id, Tombstones by keypackage.TombstoneID, Ledger by the hash of owner
// and bytes.
type State struct {
	Deliveries map[string]keypackage.Delivery
	Answers    map[string]keypackage.Answer // by request
	Ledger     map[string]keypackage.Ledger
	Stock      map[string]bool
	Tombstones map[string]bool
	Requests   map[string]bool // that are stored: whether the document says that there is no outcome yet
}

// Load reads the whole state.
func Load(ctx context.Context, client *firestore.Client, names config.Collections) (State, error) {
	s := State{
		Deliveries: make(map[string]keypackage.Delivery), Ledger: make(map[string]keypackage.Ledger),
		Stock: make(map[string]bool), Tombstones: make(map[string]bool), Requests: make(map[string]bool),
	}
	readers := map[string]func(*firestore.DocumentSnapshot) error{
		names.Deliveries: func(snap *firestore.DocumentSnapshot) error {
			d := keypackage.Delivery{ID: snap.Ref.ID}
			err := snap.DataTo(&d)
			s.Deliveries[d.ID] = d
			return err
		},
		names.Ledger: func(snap *firestore.DocumentSnapshot) error {
			l := keypackage.Ledger{Hash: snap.Ref.ID}
			err := snap.DataTo(&l)
			s.Ledger[l.Hash] = l
			return err
		},
		names.Requests: func(snap *firestore.DocumentSnapshot) error {
			_, s.Requests[snap.Ref.ID] = snap.Data()[keypackage.FieldOpen]
			return nil
		},
		names.KeyPackages: func(snap *firestore.DocumentSnapshot) error { s.Stock[snap.Ref.ID] = true; return nil },
		names.Tombstones:  func(snap *firestore.DocumentSnapshot) error { s.Tombstones[snap.Ref.ID] = true; return nil },
	}
	for collection, read := range readers {
		snaps, err := client.Collection(collection).Documents(ctx).GetAll()
		if err != nil {
			return s, fmt.Errorf("read %s: %w", collection, err)
		}
		for _, snap := range snaps {
			if err := read(snap); err != nil {
				return s, fmt.Errorf("read %s: %w", snap.Ref.Path, err)
			}
		}
	}
	snaps, err := client.Collection(names.Claims).Documents(ctx).GetAll()
	if err != nil {
		return s, fmt.Errorf("read %s: %w", names.Claims, err)
	}
	s.Answers, err = store.DecodeAnswers(snaps)
	delete(s.Answers, "") // the switch of the mode
	return s, err
}
