package keypackage

import (
	"fmt"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// Level says how much an owner still has of a ciphersuite.
type Level string

// The levels, from the best to the worst.
const (
	LevelOK      Level = "ok"
	LevelLow     Level = "low"     // at most LowStock valid packages, the reserve included
	LevelLast    Level = "last"    // one
	LevelReserve Level = "reserve" // one, and it has been handed out
	LevelEmpty   Level = "empty"   // none
)

// LowStock is the threshold of LevelLow. RefilledStock lifts a level again: whoever moves about LowStock is told once.
const (
	LowStock      = 3
	RefilledStock = 5
)

var badness = map[Level]int{"": 0, LevelOK: 0, LevelLow: 1, LevelLast: 2, LevelReserve: 3, LevelEmpty: 4}

// Supply is what is recorded about one ciphersuite of an owner.
type Supply struct {
	Level    Level     `firestore:"level"`
	Epoch    int       `firestore:"epoch"` // raised with every refill: a level is told once in each
	Count    int       `firestore:"count"` // valid packages left when the level was reached
	At       time.Time `firestore:"at,omitempty"`
	Notified bool      `firestore:"announced"`
}

// Sunk reports whether a worse level than the best was reached, and no refill noticed since.
func (s Supply) Sunk() bool { return badness[s.Level] > 0 }

// Sink returns the supply after a claim that left count valid packages, and whether it changed. reserve: the last is handed out.
func (s Supply) Sink(count int, reserve bool, now time.Time) (Supply, bool) {
	level := LevelOf(count, reserve)
	switch {
	case count >= RefilledStock && s.Sunk():
		return Supply{Level: LevelOK, Epoch: s.Epoch + 1, Count: count, At: now, Notified: true}, true
	case badness[level] <= badness[s.Level]:
		return s, false
	}
	return Supply{Level: level, Epoch: s.Epoch, Count: count, At: now}, true
}

// LevelOf is the level of an owner who has that many left. reserve says that the last one was handed out.
func LevelOf(count int, reserve bool) Level {
	switch {
	case count == 0:
		return LevelEmpty
	case reserve:
		return LevelReserve
	case count == 1:
		return LevelLast
	case count <= LowStock:
		return LevelLow
	}
	return LevelOK
}

// SuiteKey names a ciphersuite as documents and messages do: 0x0001.
func SuiteKey(suite mls.Ciphersuite) string { return fmt.Sprintf("0x%04x", uint16(suite)) }

// OwnerRetention is how long an owner's document is kept after its last change: longer than any package that its levels count.
const OwnerRetention = 90 * 24 * time.Hour

// Owner is what is known about one owner across requests.
type Owner struct {
	Pubkey    string            `firestore:"owner_pubkey"`
	HandedOut Window            `firestore:"handed_out"` // one-time packages
	Supplies  map[string]Supply `firestore:"supplies"`   // by ciphersuite (SuiteKey)
	Pending   bool              `firestore:"pending"`    // there are unannounced supplies
	Stocked   bool              `firestore:"stocked"`    // she had a package when one was last asked for
	// AtLeast is how many packages claims have left her, by ciphersuite, as they know without counting: what she publishes is
	// not in it, nor what she deletes and what expires. It tells when to count again, and is not told to anybody.
	AtLeast map[string]int `firestore:"at_least"`

	KeepUntil time.Time `firestore:"keep_until,omitempty"`
	Version   time.Time `firestore:"-"` // update time of the document; zero if there is none
}

// Notice tells an owner that a level was reached. It may be told more than once; ID is the same each time.
type Notice struct {
	Owner string
	Suite string // SuiteKey
	Supply
}

// ID names the crossing of a level: owner, ciphersuite, level and epoch.
func (n Notice) ID() string { return fmt.Sprintf("%s:%s:%s:%d", n.Owner, n.Suite, n.Level, n.Epoch) }

// DueNotices returns the notices that nobody is known to have published.
func (o *Owner) DueNotices() []Notice {
	var notices []Notice
	for suite, supply := range o.Supplies {
		if !supply.Notified {
			notices = append(notices, Notice{Owner: o.Pubkey, Suite: suite, Supply: supply})
		}
	}
	return notices
}

// MarkNotified marks the notices as published, unless something worse has happened since.
func (o *Owner) MarkNotified(notices []Notice) {
	for _, n := range notices {
		if supply := o.Supplies[n.Suite]; supply == n.Supply {
			supply.Notified = true
			o.Supplies[n.Suite] = supply
		}
	}
}
