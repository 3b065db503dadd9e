// Package keypackagedelivery hands out one-time MLS KeyPackages: serverless functions that turn each stored request
// (Nostr kind 447) into deliveries of stored KeyPackages (kind 443) to the requester's live session.
//
// This file is all that the Go buildpack needs to see at the root: importing a function's package registers it with
// functions-framework, and importing the framework's package makes the buildpack generate its main. Every deployment
// contains all functions and serves the one that its entry point names.
//
// A tour of the code, along the way of a request:
//
//   - functions/claim: the Firestore trigger. It decodes the event and calls
//   - shared/claiming: takes up a request, decides what each owner gives, and commits that in one transaction
//   - shared/keypackage: the rules that all three use cases share, free of I/O
//   - shared/mls: what the bytes of a KeyPackage say, and whether they are right
//   - functions/deliver and shared/delivering: pushes what is pending to the relay, and records what became of it
//   - functions/expire and shared/expiring: ends what is over, recovers what was lost
//   - shared/rollout: in which mode all of them work, and the switch that makes it more careful
//   - functions/gateway, shared/gateway and shared/serving: the relay side, its protocol and what stands behind it
//   - shared/publishing: what a relay takes in
//   - shared/store, shared/topic, shared/relayapi: Firestore, Pub/Sub and the relay's endpoint, each behind one package
//   - shared/assembly: builds the use cases from the settings and the adapters
//   - shared/config, shared/fault, shared/retry, shared/logging, shared/invocation: settings, errors, waiting, logs,
//     acknowledgement
//   - shared/trace: what became of a request, told to people
//   - terraform: what deploys the functions, and the commands that operate them
//   - emulator: the whole system on one machine
//   - tests: everything that judges it, and a page on what proves what
package keypackagedelivery

import (
	_ "github.com/GoogleCloudPlatform/functions-framework-go/functions"

	_ "github.com/keypackage-delivery/keypackage-delivery/functions/claim"
	_ "github.com/keypackage-delivery/keypackage-delivery/functions/deliver"
	_ "github.com/keypackage-delivery/keypackage-delivery/functions/expire"
	_ "github.com/keypackage-delivery/keypackage-delivery/functions/gateway"
)
