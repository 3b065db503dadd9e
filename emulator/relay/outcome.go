package relay

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/shared/relayapi"
)

// KindOutcome is the kind of the ephemeral event that tells a requester how its request ended. The relay signs it; the
// content is {"rows": [...]} as in the delivery endpoint's outcome, an `e` tag names the request, and a `p` tag the
// requester, who alone is sent it.
const KindOutcome = 20447

const (
	// outcomeLife is how long the relay tries to tell an outcome.
	outcomeLife = 5 * time.Minute
	// outcomeMemory is how long the outcome of one request is not told again. Deliveries of a request, and with them its
	// outcome, are pushed for an hour at most.
	outcomeMemory = 2 * time.Hour
)

// hear takes up an outcome and tells it as soon as the requester has a subscription for it. Of several outcomes of one
// request the first counts.
func (ns *notices) hear(request, requester string, rows []relayapi.OutcomeRow) error {
	content, err := json.Marshal(relayapi.Outcome{Rows: rows})
	if err != nil {
		return fmt.Errorf("encode outcome: %w", err)
	}
	return ns.take(&notice{
		id: "outcome of " + request, recipient: requester, requestID: request,
		kind: KindOutcome, tags: nostr.Tags{{"e", request}, {"p", requester}}, content: string(content),
		expires: ns.now().Add(outcomeLife),
	}, outcomeMemory)
}
