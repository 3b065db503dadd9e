package stage

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

const relayURL = "ws://relay.example"

// Package makes a real, correctly signed KeyPackage and returns it as the relay stores it.
func Package(t testing.TB, owner actors.Key, created time.Time, options mlsgen.Options) keypackage.Document {
	t.Helper()
	event, err := actors.NewKeyPackage(owner, relayURL, nostr.Timestamp(created.Unix()), options)
	if err != nil {
		t.Fatal(err)
	}
	return keypackage.Document{
		keypackage.FieldEventID: event.ID, keypackage.FieldOwner: event.PubKey, keypackage.FieldContent: event.Content,
		keypackage.FieldCiphersuite: event.Tags.Find("mls_ciphersuite")[1],
		keypackage.FieldCreatedAt:   int64(event.CreatedAt), keypackage.FieldEvent: event.String(),
	}
}

// Packages makes n packages, dated one second apart up to now and sorted oldest first.
func Packages(t testing.TB, owner actors.Key, n int) []keypackage.Document {
	t.Helper()
	now := time.Now()
	packages := make([]keypackage.Document, n)
	for i := range packages {
		created := now.Add(-time.Duration(n-1-i) * time.Second)
		packages[i] = Package(t, owner, created, mlsgen.Options{})
	}
	return packages
}

// ID returns the id of a package's event.
func ID(p keypackage.Document) string { return p.Text(keypackage.FieldEventID) }

// SortByAge sorts packages as the store reads them: oldest first, ties by lower id.
func SortByAge(packages []keypackage.Document) {
	slices.SortFunc(packages, func(a, b keypackage.Document) int {
		ageA, _ := a.Time(keypackage.FieldCreatedAt)
		ageB, _ := b.Time(keypackage.FieldCreatedAt)
		return cmp.Or(ageA.Compare(ageB), cmp.Compare(ID(a), ID(b)))
	})
}

// Request signs a 447 and returns it as the relay stores it, received just now.
func Request(t testing.TB, requester actors.Key, q actors.Question) keypackage.RequestDocument {
	t.Helper()
	event := actors.NewRequest(q)
	if err := requester.Sign(event); err != nil {
		t.Fatal(err)
	}
	return keypackage.RequestDocument{
		ID: event.ID, Event: event.String(), Kind: keypackage.KindRequest, HasKind: true,
		ReceivedAt: time.Now().UTC().Truncate(time.Microsecond), // as Firestore keeps it
	}
}

// Parse returns the request that a document holds.
func Parse(t testing.TB, doc keypackage.RequestDocument) *keypackage.Request {
	t.Helper()
	req, err := keypackage.ParseRequest(doc, 10)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
