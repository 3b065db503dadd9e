package claiming

import (
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
)

// Result says what became of a request, for the log. Outcome is "" if the request was left alone.
type Result struct {
	RequestID string
	Outcome   keypackage.Outcome
	Reason    string
	Repeated  bool // all of it was answered before
	Granted   int
	Owners    int
	Reserves  int           // owners who gave their reserve: their stock is used up
	Empty     int           // owners without any valid package
	Age       time.Duration // from the relay's receipt to the answer
}

// Label is the outcome as a word for the log.
func (r Result) Label() string {
	if r.Outcome == "" {
		return "ignored"
	}
	return string(r.Outcome)
}

func (r *Result) fill(claims []keypackage.Claim, doc keypackage.RequestDocument, now time.Time) {
	r.Outcome, _ = keypackage.Conclude(claims)
	r.Age = now.Sub(doc.ReceivedAt)
	for _, claim := range claims {
		r.Granted += claim.Granted
		if claim.Owner != "" {
			r.Owners++
		}
		if claim.Reserve {
			r.Reserves++
		}
		if claim.Status == keypackage.StatusNone && claim.Reason == "" {
			r.Empty++
		}
		if r.Reason == "" {
			r.Reason = claim.Reason
		}
	}
}
