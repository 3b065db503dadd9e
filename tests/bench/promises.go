package main

import "github.com/keypackage-delivery/keypackage-delivery/shared/config"

// reason is why an operation is needed, and how often at least for a request for one package: by whoever would read
// nothing twice, read all of it inside the transaction, and live with the waiting that this means for concurrent claims.
type reason struct {
	operation
	least   float64
	promise string
}

// claimReasons and pushReasons name the promise behind every operation of a request for available packages. An operation that
// is not in the list is one that nobody needs.
func claimReasons(c config.Collections) []reason {
	return []reason{
		{operation{query, c.KeyPackages}, 2, "oldest first; one remains (I2)"},
		{operation{tally, c.KeyPackages}, 0, "whether the owner is to be told about her stock"},
		{operation{read, c.Pairs}, 1, "limit of the requester, joining an open delivery"},
		{operation{read, c.Owners}, 1, "the owner's budget and the levels of her stock"},
		{operation{read, c.Claims}, 1, "answered before: the same answer (I4)"},
		{operation{readAgain, c.KeyPackages}, 0, "what remains is still there (I2)"},
		{operation{readAgain, c.Ledger}, 1, "what remains was not used up under another id (I2)"},
		{operation{missed, c.Claims}, 0, "one outcome: nobody rejected the whole request meanwhile (I3)"},
		{operation{missed, c.Tombstones}, 2, "not deleted: neither what is handed out nor what stays"},
		{operation{create, c.Claims}, 1, "exactly one recorded outcome (I3, I4)"},
		{operation{create, c.Deliveries}, 1, "what is claimed is delivered or returned (I3)"},
		{operation{create, c.Ledger}, 1, "used once (I1)"},
		{operation{create, c.Pairs}, 1, "limit of the requester, joining"},
		{operation{create, c.Owners}, 0, "the owner's budget, for the first time"},
		{operation{update, c.Owners}, 1, "the owner's budget"},
		{operation{remove, c.KeyPackages}, 1, "consumed: exposed to one requester only (I1)"},
		{operation{update, c.Requests}, 1, "the outcome on the relay's document, for the relay and for people"},
	}
}

func pushReasons(c config.Collections) []reason {
	return []reason{
		{operation{read, c.Deliveries}, 1, "what is pending, whether somebody else is pushing it (I4), and the outcome to tell (I3)"},
		{operation{missed, c.Tombstones}, 1, "not deleted meanwhile"},
		{operation{update, c.Deliveries}, 2, "sending before the push, its result after it: returned only if surely unseen (I5)"},
	}
}
