package keypackage

import (
	"slices"
	"time"
)

// Use says how the bytes of a KeyPackage were handed out.
type Use string

// The values of Use.
const (
	UseNone    Use = ""         // never
	UseOneTime Use = "one_time" // as a one-time package: never again
	UseReserve Use = "shared"   // as a reserve: again, but only as a reserve
)

// Ledger is the entry for one package (owner and inner bytes, see mls.ContentHash). Anyone who saw a KeyPackage can publish it
// again, as another event and in another encoding; the ledger is what makes "used once" true.
type Ledger struct {
	Hash       string    `firestore:"-"`
	Owner      string    `firestore:"owner_pubkey"`
	Suite      string    `firestore:"ciphersuite"` // SuiteKey
	Use        Use       `firestore:"use"`
	DeliveryID string    `firestore:"delivery_id"` // the delivery that used the package; a return removes the entry only for this one
	PackageID  string    `firestore:"keypackage_event_id"`
	FirstUse   time.Time `firestore:"first_use,omitempty"`
	KeepUntil  time.Time `firestore:"keep_until,omitempty"`
	CheckShard int       `firestore:"check_shard,omitempty"` // 1 to Shards of a reserve, no last resort, that seems to be in stock
	CheckAt    time.Time `firestore:"check_at,omitempty"`    // when to look again whether it can be retired
	Version    time.Time `firestore:"-"`                     // update time of the document
}

// How long a ledger entry is kept, at the least.
const (
	ledgerMinimum = 90 * 24 * time.Hour // after the first use
	ledgerBeyond  = 24 * time.Hour      // after the last moment at which a document with these bytes could be valid
)

// NewLedger returns the entry for the use of a package at that time.
func NewLedger(p *Package, use Use, deliveryID string, now time.Time) Ledger {
	entry := Ledger{
		Hash: p.Hash, Owner: p.Owner, Suite: SuiteKey(p.Suite), Use: use, DeliveryID: deliveryID, PackageID: p.ID,
		FirstUse: now, KeepUntil: keepLedgerUntil(p, now),
	}
	if use == UseReserve && !p.LastResort && !p.Addressable {
		entry.CheckShard, entry.CheckAt = shardOf(p.Hash), now.Add(RetireAfter)
	}
	return entry
}

// keepLedgerUntil returns the zero time (for ever) for opaque content: nothing in it ends, so it may be signed anew at any time.
func keepLedgerUntil(p *Package, now time.Time) time.Time {
	if p.NotAfter.IsZero() {
		return time.Time{}
	}
	ends := []time.Time{now.Add(ledgerMinimum), p.ExpiresAt.Add(ledgerBeyond), p.NotAfter.Add(ledgerBeyond)}
	return slices.MaxFunc(ends, time.Time.Compare)
}

const (
	// RetireAfter is how long replacements must have been in stock: who uploads and deletes again at once keeps what she had.
	RetireAfter       = 10 * time.Minute
	retireWith        = 2         // packages replace a reserve
	maxRetireInterval = time.Hour // for which a replaced package stays in stock unnoticed
)

// Replacements returns the packages that allow the retirement of a reserve that is no last resort, by its entry: valid ones that
// nobody was given, of its ciphersuite with other bytes, long enough in stock. It returns nil if there are not enough.
func Replacements(reserve Ledger, stock []*Candidate, now time.Time) []*Candidate {
	others := slices.DeleteFunc(Distinct(stock), func(c *Candidate) bool {
		return c.Hash == reserve.Hash || c.suiteKey() != reserve.Suite || !c.Valid(now) || !c.OneTime() ||
			now.Sub(c.Stored) < RetireAfter
	})
	if len(others) < retireWith {
		return nil
	}
	return others[:retireWith]
}

// Postpone sets when to look again: soon while the exposure is fresh and its owner likely to upload, then ever more rarely.
func (l *Ledger) Postpone(now time.Time) {
	l.CheckAt = now.Add(min(max(RetireAfter, now.Sub(l.FirstUse)/4), maxRetireInterval))
}
