package importing

import (
	"context"
	"slices"
	"sync"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/publishing"
)

// DryRun is a store that answers what the other answers and keeps nothing. It remembers what it was given as far as the next
// answers depend on it: how much of an owner, and which version of a slot.
type DryRun struct {
	publishing.Store

	mu    sync.Mutex
	given map[string]int
	slots map[string]publishing.Version
}

// NewDryRun returns a DryRun in front of a store.
func NewDryRun(documents publishing.Store) *DryRun {
	return &DryRun{Store: documents, given: make(map[string]int), slots: make(map[string]publishing.Version)}
}

// CountStock implements publishing.Store.
func (d *DryRun) CountStock(ctx context.Context, owner string, limit int) (int, error) {
	count, err := d.Store.CountStock(ctx, owner, limit)
	d.mu.Lock()
	defer d.mu.Unlock()
	return count + d.given[owner], err
}

// Published implements publishing.Store.
func (d *DryRun) Published(ctx context.Context, p *keypackage.Package, slot string) (publishing.Published, error) {
	known, err := d.Store.Published(ctx, p, slot)
	d.mu.Lock()
	defer d.mu.Unlock()
	if version, ok := d.slots[slot]; ok {
		known.Slot = append(slices.Clip(known.Slot), version)
	}
	return known, err
}

// Expose implements publishing.Store.
func (*DryRun) Expose(context.Context, keypackage.Ledger) error { return nil }

// Stock implements publishing.Store.
func (d *DryRun) Stock(
	_ context.Context, p *keypackage.Package, slot string, known publishing.Published, _ *keypackage.Ledger,
) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(known.Slot) == 0 {
		d.given[p.Owner]++
	}
	if slot != "" {
		d.slots[slot] = publishing.Version{ID: p.ID, CreatedAt: p.CreatedAt}
	}
	return nil
}
