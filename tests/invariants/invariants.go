// Package invariants checks the promises of KeyPackage delivery on what a run has left behind: the documents in Firestore and
// what the requesters' sessions received. What only the order of the commits shows, package simulation checks under the same
// names.
//
//	I1  a package handed out as one-time is exposed to one requester only; a reserve is never handed out as one-time
//	I2  no claim, return, retirement or removal takes an owner's last valid package of a ciphersuite
//	I3  every request ends with exactly one outcome, every delivery delivered or expired, and nothing vanishes
//	I4  whatever is repeated, a unit is answered once, and acknowledged only when its answer is recorded
//	I5  a one-time package returns to stock if, and only if, every push of it was recorded as a definite negative, none was
//	    answered that the relay will never deliver it, and it is still valid and not deleted
//	I6  what arrives is the signed event, byte for byte
//	I7  only the requester's sessions see a push
//	I8  nothing is pushed after its end, and nothing by two at once
package invariants

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// Run is what is known of a run from outside the database. The zero value of a part means that it was not recorded, and
// is not checked.
type Run struct {
	Uploads  map[string]keypackage.Package // by event id, as a claim reads them: everything that owners published
	Requests map[string][]string           // by id, the owners asked: valid requests, which must end if the relay has them
	Received []Received
	Pushes   []Push

	Stored  map[string]bool        // events that the relay says it has; it may have others, and then they have a document
	Deleted map[string]bool        // events that their owners want gone
	Left    map[string][]time.Time // when sessions ended, by the key as which they were authenticated; "" are all
}

// Received is an event that arrived in a session.
type Received struct {
	DeliveryID string
	Session    string // the key as which the session is authenticated
	PackageID  string
	Raw        string
	At         time.Time
}

// Push is a call of the relay's endpoint, for one delivery.
type Push struct {
	DeliveryID string
	At         time.Time
	Contested  bool // another push of the same delivery was, or may have been, under way
}

// State is what Firestore holds. Stock is keyed by event id, Tombstones by keypackage.TombstoneID, Ledger by the hash of owner
// and bytes.
type State struct {
	Deliveries map[string]keypackage.Delivery
	Answers    map[string]keypackage.Answer // by request
	Ledger     map[string]keypackage.Ledger
	Stock      map[string]bool
	Tombstones map[string]bool
	Requests   map[string]bool // that are stored: whether the document says that there is no outcome yet
	At         time.Time       // when it was read
}

// Load reads the whole state. Claims come first and stock last: what is read later belongs to what was read before, once that
// has ended.
func Load(ctx context.Context, client *firestore.Client, names config.Collections) (State, error) {
	s := State{
		Deliveries: make(map[string]keypackage.Delivery), Ledger: make(map[string]keypackage.Ledger),
		Stock: make(map[string]bool), Tombstones: make(map[string]bool), Requests: make(map[string]bool),
	}
	var failed error
	note := func(what string, err error) {
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("read %s: %w", what, err))
		}
	}
	read := func(collection string) []*firestore.DocumentSnapshot {
		snaps, err := client.Collection(collection).Documents(ctx).GetAll()
		note(collection, err)
		return snaps
	}
	answers, err := store.DecodeAnswers(read(names.Claims))
	note(names.Claims, err)
	delete(answers, "") // the switch of the mode
	for _, snap := range read(names.Requests) {
		_, s.Requests[snap.Ref.ID] = snap.Data()[keypackage.FieldOpen]
	}
	for _, snap := range read(names.Deliveries) {
		d := keypackage.Delivery{ID: snap.Ref.ID}
		note(snap.Ref.Path, snap.DataTo(&d))
		s.Deliveries[d.ID] = d
	}
	for _, snap := range read(names.Ledger) {
		l := keypackage.Ledger{Hash: snap.Ref.ID}
		note(snap.Ref.Path, snap.DataTo(&l))
		s.Ledger[l.Hash] = l
	}
	for _, snap := range read(names.KeyPackages) {
		s.Stock[snap.Ref.ID] = true
	}
	for _, snap := range read(names.Tombstones) {
		s.Tombstones[snap.Ref.ID] = true
	}
	s.Answers, s.At = answers, time.Now()
	return s, failed
}
