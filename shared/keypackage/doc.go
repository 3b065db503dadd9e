// Package keypackage holds the rules of KeyPackage delivery and nothing else: no I/O, no clock, no cloud SDK.
//
// Read it in the order of a request's life:
//
//   - event.go: a signed Nostr event, verified byte for byte
//   - request.go: the kind-447 request and what makes it valid
//   - document.go, package.go: a stored KeyPackage and what it is worth
//   - ledger.go: which bytes were already handed out
//   - order.go: which package is used next, and which one is the owner's reserve
//   - window.go, pair.go: the limits, and the open deliveries that a repeated request joins
//   - claim.go: the recorded answer for one owner, and the outcome of a whole request
//   - delivery.go: the life cycle of a pending delivery
//
// Every function is safe for concurrent use on distinct values. Time is always an argument.
package keypackage
