// Package keypackage holds the rules of KeyPackage delivery and nothing else: no I/O, no clock, no cloud SDK.
//
// Read it in the order of a request's life:
//
//   - event.go: a signed Nostr event, verified byte for byte
//   - request.go: the kind-447 request and what makes it valid, and the REQ that asks for the same
//   - document.go, package.go: a stored KeyPackage and what it is worth; what a deletion leaves; how indexes are spread
//   - ledger.go: which bytes were already handed out, and when a reserve gives way to newer ones
//   - order.go: which package is used next, and which one is the owner's reserve
//   - holding.go, level.go: what an owner has left of a ciphersuite, and when she is told
//   - window.go, pair.go: the limits, and the deliveries that a repeated request joins
//   - claim.go, answer.go: the recorded answer for one owner, that to a whole request with its outcome, and its announcement
//   - delivery.go, result.go, expiry.go: the life of a pending delivery, what a push changes, when it is pushed again and ends
//   - mode.go: what the operator allows
//
// Every function is safe for concurrent use on distinct values. Time is always an argument.
package keypackage
