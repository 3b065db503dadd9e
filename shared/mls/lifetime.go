package mls

import "time"

// MaxLifetime is the longest lifetime that a package may have: 84 days and the hour by which clients antedate a package.
// RFC 9420 section 7.2 demands a limit, and Marmot sets this one, without exemption. OpenMLS refuses more, too.
const MaxLifetime = 7261200 * time.Second

// Lifetime is when a leaf is valid, in Unix seconds, RFC 9420 section 7.2.
type Lifetime struct {
	NotBefore uint64
	NotAfter  uint64
}

// Current returns nil, ErrNotBegun or ErrExpired. At NotAfter itself the lifetime has ended, because OpenMLS sees it so.
func (l Lifetime) Current(now time.Time) error {
	switch second := uint64(max(now.Unix(), 0)); {
	case second >= l.NotAfter:
		return ErrExpired
	case second < l.NotBefore:
		return ErrNotBegun
	}
	return nil
}

// EndOfTime is the last second of the year 9999, in Unix time: beyond it Firestore has no timestamps.
const EndOfTime = 253402300799

// End is NotAfter as a time, at most EndOfTime.
func (l Lifetime) End() time.Time { return time.Unix(int64(min(l.NotAfter, EndOfTime)), 0).UTC() }

// acceptable tells whether the lifetime is a forward span of at most MaxLifetime.
func (l Lifetime) acceptable() bool {
	return l.NotBefore <= l.NotAfter && l.NotAfter-l.NotBefore <= uint64(MaxLifetime/time.Second)
}
