package claiming

import (
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/logging"
)

// Result says what became of a request, for the log. Outcome is "" if the request was left alone.
type Result struct {
	RequestID string
	Outcome   keypackage.Outcome
	Reason    string
	Repeated  bool // every answer had been recorded before, by whoever has counted them

	Granted    int
	Owners     int           // without those of OutOfStock
	Reserves   int           // owners who gave their reserve: their stock is used up
	Empty      int           // owners whose stock was found to have come to its end
	OutOfStock int           // owners who had nothing when last asked for either, see keypackage.Claim
	Age        time.Duration // from the relay's receipt to the answer
	Unmarked   bool          // the relay does not write the mark by which a request is found whose trigger is lost
}

// ReasonOutOfStock is the Result's reason of a request for nobody but owners out of stock. Any stranger can ask for such:
// it says nothing about the service.
const ReasonOutOfStock = "out_of_stock"

// Label is the outcome as a word for the log.
func (r Result) Label() string {
	if r.Outcome == "" {
		return "ignored"
	}
	return string(r.Outcome)
}

// fill sums the answer up.
func (r *Result) fill(answer keypackage.Answer) {
	r.Outcome = answer.Outcome()
	if d := answer.Dismissal; d != nil {
		r.Reason = d.Reason
	}
	for _, claim := range answer.Claims {
		if r.Reason == "" {
			r.Reason = claim.Reason
		}
		r.count(claim)
	}
	if r.OutOfStock > 0 && r.Owners == 0 {
		r.Reason = ReasonOutOfStock
	}
}

func (r *Result) count(claim keypackage.Claim) {
	r.Granted += claim.Granted
	if claim.OutOfStock {
		r.OutOfStock++
	} else {
		r.Owners++
	}
	if claim.Reserve {
		r.Reserves++
	}
	if claim.Status == keypackage.StatusNone && claim.Reason != keypackage.ReasonStale && !claim.OutOfStock {
		r.Empty++
	}
}

// Describe adds what became of the request to a log line.
func (r Result) Describe(line *logging.Line) {
	line.Set("request_event_id", r.RequestID)
	if r.Reason != "" {
		line.Set("request_reason", r.Reason)
	}
	if r.Repeated {
		line.Set("repeated", "true")
	}
	line.Count("owners", r.Owners)
	line.Count("out_of_stock", r.OutOfStock)
	line.Count("granted", r.Granted)
	line.Count("reserves", r.Reserves)
	line.Count("empty", r.Empty)
	if r.Unmarked {
		line.Count("unmarked", 1)
	}
	if r.Age > 0 {
		line.Measure("receipt_to_answer", r.Age)
	}
}
