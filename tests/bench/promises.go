package main

import "github.com/keypackage-delivery/keypackage-delivery/shared/config"

// reason is why an operation is needed, and how often at least for a request for one package: by whoever would read
// nothing twice, read all of it inside the transaction, and live with the waiting that this means for concurrent claims.
type reason struct {
	kind    kind
	of      func(config.Collections) string
	least   float64
	promise string
}

// Collections by their role.
func packages(c config.Collections) string   { return c.KeyPackages }
func requests(c config.Collections) string   { return c.Requests }
func tombstones(c config.Collections) string { return c.Tombstones }
func deliveries(c config.Collections) string { return c.Deliveries }
func claims(c config.Collections) string     { return c.Claims }
func ledger(c config.Collections) string     { return c.Ledger }
func pairs(c config.Collections) string      { return c.Pairs }
func owners(c config.Collections) string     { return c.Owners }

// claimReasons and pushReasons name the promise behind every operation of a request for available packages. An operation that
// is not in the list is one that nobody needs.
var (
	claimReasons = []reason{
		{query, packages, 2, "oldest first; one remains (I2)"},
		{tally, packages, 0, "whether the owner is to be told about her stock"},
		{read, pairs, 1, "limit of the requester, joining an open delivery"},
		{read, owners, 1, "the owner's budget and the levels of her stock"},
		{read, claims, 1, "answered before: the same answer (I4)"},
		{readAgain, packages, 0, "what remains is still there (I2)"},
		{readAgain, ledger, 1, "what remains was not used up under another id (I2)"},
		{missed, claims, 0, "one outcome: nobody rejected the whole request meanwhile (I3)"},
		{missed, tombstones, 2, "not deleted: neither what is handed out nor what stays"},
		{create, claims, 1, "exactly one recorded outcome (I3, I4)"},
		{create, deliveries, 1, "what is claimed is delivered or returned (I3)"},
		{create, ledger, 1, "used once (I1)"},
		{create, pairs, 1, "limit of the requester, joining"},
		{create, owners, 0, "the owner's budget, for the first time"},
		{update, owners, 1, "the owner's budget"},
		{remove, packages, 1, "consumed: exposed to one requester only (I1)"},
		{update, requests, 1, "the outcome on the relay's document, for the relay and for people"},
	}
	pushReasons = []reason{
		{read, deliveries, 1, "what is pending, whether somebody else is pushing it (I4), and the outcome to tell (I3)"},
		{missed, tombstones, 1, "not deleted meanwhile"},
		{update, deliveries, 2, "sending before the push, its result after it: returned only if surely unseen (I5)"},
	}
)
