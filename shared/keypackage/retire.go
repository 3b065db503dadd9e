package keypackage

import (
	"slices"
	"time"
)

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
