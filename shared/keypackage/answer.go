package keypackage

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Answer is what is recorded of the answer to one request: a claim for each answered unit, or the dismissal of the whole request.
// What it says is repeated, never decided again. The zero value is no answer.
type Answer struct {
	Claims    []Claim
	Dismissal *Dismissal // nil unless the request was dismissed; then there is no claim
}

// Dismissal says that a request was rejected, or only observed, as a whole.
type Dismissal struct {
	RequestID string    `firestore:"request_event_id"`
	Requester string    `firestore:"requester_pubkey"` // "" if the request cannot be read that far
	Owners    []string  `firestore:"owner_pubkeys"`    // as Requester
	Outcome   Outcome   `firestore:"status"`           // OutcomeRejected or OutcomeObserved
	Reason    string    `firestore:"reason"`           // with OutcomeRejected: a Rejection
	Requested int       `firestore:"requested"`
	Observed  []Row     `firestore:"observed"` // with OutcomeObserved: what would have been claimed
	Authentic bool      `firestore:"authentic"`
	CreatedAt time.Time `firestore:"created_at,omitempty"`
	KeepUntil time.Time `firestore:"keep_until,omitempty"`
}

// DismissalID returns the document id of the dismissal of a request. It is among the claims, as that of no owner.
func DismissalID(requestID string) string { return ClaimID(requestID, "") }

// part returns one of the claims, for what each says of the request, or what a dismissal says of it.
func (a Answer) part() Claim {
	if d := a.Dismissal; d != nil {
		return Claim{RequestID: d.RequestID, Requester: d.Requester, Authentic: d.Authentic, KeepUntil: d.KeepUntil}
	}
	if len(a.Claims) == 0 {
		return Claim{}
	}
	return a.Claims[0]
}

// Empty reports whether nothing is recorded.
func (a Answer) Empty() bool { return len(a.Claims) == 0 && a.Dismissal == nil }

// RequestID and the methods below return what every part says, and zero values of no answer.
func (a Answer) RequestID() string    { return a.part().RequestID }
func (a Answer) Requester() string    { return a.part().Requester } // "" if the request cannot be read that far
func (a Answer) Authentic() bool      { return a.part().Authentic } // the requester has signed it, so that the outcome is told
func (a Answer) KeepUntil() time.Time { return a.part().KeepUntil }

// Observed reports whether the request was only observed, so that nobody is told of it.
func (a Answer) Observed() bool { return a.Dismissal != nil && a.Dismissal.Outcome == OutcomeObserved }

// CreatedAt is when the last part of the answer was recorded; zero of no answer.
func (a Answer) CreatedAt() (last time.Time) {
	if a.Dismissal != nil {
		return a.Dismissal.CreatedAt
	}
	for _, c := range a.Claims {
		if c.CreatedAt.After(last) {
			last = c.CreatedAt
		}
	}
	return last
}

// Claim returns the claim of an owner, if there is one.
func (a Answer) Claim(owner string) (Claim, bool) {
	i := slices.IndexFunc(a.Claims, func(c Claim) bool { return c.Owner == owner })
	if i < 0 {
		return Claim{}, false
	}
	return a.Claims[i], true
}

// Granted is how many packages were granted.
func (a Answer) Granted() (n int) {
	for _, c := range a.Claims {
		n += c.Granted
	}
	return n
}

// Deliveries names what was granted, each once, by id.
func (a Answer) Deliveries() (refs []DeliveryRef) {
	for _, c := range a.Claims {
		refs = append(refs, c.Deliveries()...)
	}
	slices.SortFunc(refs, func(a, b DeliveryRef) int { return cmp.Compare(a.ID, b.ID) })
	return slices.Compact(refs)
}

// Missing is how many of the request's owners have no claim yet, as far as the others tell.
func (a Answer) Missing() int {
	if a.Dismissal != nil || len(a.Claims) == 0 {
		return 0
	}
	return len(a.Claims[0].Owners) - len(a.Claims)
}

// Complete reports whether the answer is one to the whole request.
func (a Answer) Complete() bool { return !a.Empty() && a.Missing() == 0 }

// Rows are the lines of the outcome, as the requester is told it: one for each claim, or one for the whole request.
func (a Answer) Rows() []Row {
	if d := a.Dismissal; d != nil {
		return []Row{{Requested: d.Requested, Reason: cmp.Or(d.Reason, string(d.Outcome))}}
	}
	rows := make([]Row, len(a.Claims))
	for i := range a.Claims {
		rows[i] = a.Claims[i].Row()
	}
	return rows
}

// Outcome is the one answer to a whole request.
type Outcome string

// The values of Outcome. The last two are those of a dismissal.
const (
	OutcomeGranted  Outcome = "granted"
	OutcomePartial  Outcome = "partial"
	OutcomeLimited  Outcome = "limited"
	OutcomeNoMatch  Outcome = "no_match"
	OutcomeNone     Outcome = "none"
	OutcomeRejected Outcome = "rejected"
	OutcomeObserved Outcome = "observed"
)

// Outcome sums the answer up. As long as it is not Complete, that may change.
func (a Answer) Outcome() Outcome {
	if a.Dismissal != nil {
		return a.Dismissal.Outcome
	}
	seen := make(map[Status]bool)
	for _, c := range a.Claims {
		seen[c.Status] = true
	}
	for _, s := range []Status{StatusLimited, StatusNoMatch, StatusNone} {
		if seen[s] && a.Granted() == 0 {
			return Outcome(s)
		}
	}
	if seen[StatusFull] && len(seen) == 1 {
		return OutcomeGranted
	}
	return OutcomePartial
}

// Announcement says that a request was answered. It names the documents that hold the answer, so that whoever delivers reads
// them by id in one round trip. The names are hints: the store decides what there is, and what is not named is searched for.
type Announcement struct {
	RequestID string
	// Granted holds, by owner whose claim there is, the packages for which the request created deliveries.
	Granted map[string][]string
}

// mostAnnounced bounds the names: what they name is read at once, up to 1 MiB each. Hardly any request is granted more.
const mostAnnounced = 32

// NewAnnouncement returns the announcement of a request with this answer; it must not be empty.
func NewAnnouncement(answer Answer) Announcement {
	a := Announcement{RequestID: answer.RequestID(), Granted: make(map[string][]string)}
	named := 0
	for _, c := range answer.Claims {
		a.Granted[c.Owner] = nil
		for _, id := range c.DeliveryIDs {
			if strings.HasPrefix(id, DeliveryID(a.RequestID, "")) && named < mostAnnounced { // not joined
				a.Granted[c.Owner] = append(a.Granted[c.Owner], PackageOf(id))
				named++
			}
		}
	}
	return a
}

// Deliveries names the deliveries that the request created.
func (a Announcement) Deliveries() []DeliveryRef {
	var refs []DeliveryRef
	for owner, packages := range a.Granted {
		for _, id := range packages {
			refs = append(refs, DeliveryRef{ID: DeliveryID(a.RequestID, id), Owner: owner})
		}
	}
	return refs
}
