// Package tests is empty; below it stands everything that judges the system. Nothing else in the tree knows it.
//
// What proves what, from the rules to the whole. Unit tests stand next to the code they test.
//
//   - model: the rules of claim and delivery, searched exhaustively for small numbers, each with mutations that must fail
//   - simulation: the real use cases on the real Firestore emulator, everything else simulated: the promises hold in random
//     histories, and whatever call fails, or is the last one before a crash, in every flow; mutants of the store are found
//   - contention: the promises hold when instances race each other at full speed
//   - abuse: what strangers, owners and rubbish can do and what it costs
//   - system: the whole system as processes, as a relay, its clients and the platform see it
//   - deploy: what is deployed builds, serves, and agrees with Terraform, the commands of the papers and the alerts
//   - imports: which way imports point, and that tours such as this one leave nothing out
//
// Commands for people, each of which also runs as a test, in small:
//
//   - conformance: whether a relay keeps the contract, rule by rule
//   - smoke: whether two strangers get a KeyPackage delivered at a relay, deployed or local
//   - soak: whether everything holds for a long time under load, with lost calls and dying processes
//   - bench: how long it takes, what it costs, and where it ends
//
// `go test ./...` covers all of it in small: each call that leaves its caller in the dark, 128 histories, a short soak. `.ci/run`
// adds the race detector, the model, every call failing in every way, 1,000 histories, and the relays of upstreams.
//
// What these share:
//
//   - invariants: the promises as checks on what a run has left behind
//   - upstreams: ordinary relays for the gateway to stand before, whose dependencies only they have, as modules of their own
package tests
