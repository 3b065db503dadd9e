package store

import (
	"sync"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Bounds of what is remembered: twice as many packages, each with a document of 2 to 3 KB. Larger ones, which nobody needs
// to publish, are inspected each time, so that no owner can fill the memory.
const (
	inspectionsKept = 1024
	documentKept    = 8 << 10
)

// inspections remembers what documents of the stock say. Inspecting one costs three signatures, 0.4 ms and more, and each
// claim reads the oldest few documents, most of which the claim before it has read: without a memory, verifying the same
// bytes again took most of the CPU time of a claim.
//
// The key is the document's id and its update time, under which Firestore has one content only; the transaction relies on
// just the same. What is remembered depends on nothing else, and on no clock. It is safe for concurrent use.
type inspections struct {
	mu            sync.Mutex
	recent, older map[inspected]keypackage.Package
}

type inspected struct {
	id      string
	version time.Time
}

func newInspections() *inspections {
	return &inspections{recent: make(map[inspected]keypackage.Package)}
}

// of returns what the document says, which the caller must not change.
func (i *inspections) of(snap *firestore.DocumentSnapshot, policy keypackage.Policy) keypackage.Package {
	key := inspected{snap.Ref.ID, snap.UpdateTime}
	if p, ok := i.find(key); ok {
		return p
	}
	p := keypackage.Inspect(snap.Ref.ID, snap.Data(), policy)
	if p.Size() <= documentKept {
		i.keep(key, p)
	}
	return p
}

func (i *inspections) find(key inspected) (keypackage.Package, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if p, ok := i.recent[key]; ok {
		return p, true
	}
	p, ok := i.older[key]
	return p, ok
}

// keep forgets the older half once the recent one is full.
func (i *inspections) keep(key inspected, p keypackage.Package) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.recent) == inspectionsKept {
		i.older, i.recent = i.recent, make(map[inspected]keypackage.Package)
	}
	i.recent[key] = p
}
