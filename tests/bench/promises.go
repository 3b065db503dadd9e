package main

import "github.com/keypackage-delivery/keypackage-delivery/shared/config"

// reason is why an operation is needed, and how often at least for a request for one package: by whoever would read
// nothing twice, read all of it inside the transaction, and live with the waiting that this means for concurrent claims.
type reason struct {
	phase   string
	kind    kind
	of      func(config.Collections) string
	least   float64
	promise string
}

const (
	phaseClaim   = "claim"
	phaseDeliver = "deliver"
)

// Collections by their role.
func packages(c config.Collections) string   { return c.KeyPackages }
func requests(c config.Collections) string   { return c.Requests }
func tombstones(c config.Collections) string { return c.Tombstones }
func deliveries(c config.Collections) string { return c.Deliveries }
func claims(c config.Collections) string     { return c.Claims }
func ledger(c config.Collections) string     { return c.Ledger }
func pairs(c config.Collections) string      { return c.Pairs }
func owners(c config.Collections) string     { return c.Owners }

// reasons names the promise behind every operation of a request for available packages. An operation that is not in the
// list is one that nobody needs.
var reasons = []reason{
	{phaseClaim, query, packages, 2, "oldest first; one remains (I2)"},
	{phaseClaim, tally, packages, 0, "whether the owner is to be told about her stock"},
	{phaseClaim, read, ledger, 2, "a package is its bytes: used once, whatever document they come in (I1)"},
	{phaseClaim, read, tombstones, 2, "what the owner deleted is not handed out"},
	{phaseClaim, read, pairs, 1, "limit of the requester, joining an open delivery"},
	{phaseClaim, read, owners, 1, "the owner's budget and the levels of her stock"},
	{phaseClaim, read, claims, 1, "answered before: the same answer (I4)"},
	{phaseClaim, readAgain, claims, 0, "one outcome: nobody rejected the whole request meanwhile (I3)"},
	{phaseClaim, readAgain, tombstones, 0, "not deleted meanwhile: neither what is handed out nor what stays"},
	{phaseClaim, readAgain, packages, 0, "what remains is still there (I2)"},
	{phaseClaim, readAgain, ledger, 0, "what remains was not used up under another id (I2)"},
	{phaseClaim, create, claims, 1, "exactly one recorded outcome (I3, I4)"},
	{phaseClaim, create, deliveries, 1, "what is claimed is delivered or returned (I3)"},
	{phaseClaim, create, ledger, 1, "used once (I1)"},
	{phaseClaim, create, pairs, 1, "limit of the requester, joining"},
	{phaseClaim, update, pairs, 1, "limit of the requester, joining"},
	{phaseClaim, create, owners, 1, "the owner's budget"},
	{phaseClaim, update, owners, 1, "the owner's budget"},
	{phaseClaim, remove, packages, 1, "consumed: exposed to one requester only (I1)"},
	{phaseClaim, update, requests, 1, "the outcome on the relay's document, for the relay and for people"},
	{phaseDeliver, read, deliveries, 1, "what is pending, whether somebody else is pushing it (I4), and the outcome to tell (I3)"},
	{phaseDeliver, readAgain, tombstones, 1, "not deleted meanwhile"},
	{phaseDeliver, update, deliveries, 2, "sending before the push, its result after it: returned only if surely unseen (I5)"},
}

// find returns the reason for an operation, or nil.
func find(phase string, op operation, c config.Collections) *reason {
	for i, r := range reasons {
		if r.phase == phase && r.kind == op.kind && r.of(c) == op.collection {
			return &reasons[i]
		}
	}
	return nil
}
