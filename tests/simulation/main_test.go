// Package simulation is deterministic simulation testing: the real use cases run on the real Firestore emulator, with
// everything else under control. The clock stands still until a test moves it, the relay, its sessions and the topic are
// simulated, and so is what the platform does with events and messages: it loses, repeats and reorders them, lets
// instances interrupt each other and has any call fail or an instance die at it. What happened is checked against the
// promises afterwards, by package invariants and commit by commit.
//
// Two tests stand on it. Crash points make every external call of every flow fail, one at a time and in each way that it
// can; the calls are recorded from a run that goes well, so that a new call is covered by itself. Histories are random:
// uploads, re-broadcasts and other encodings of used packages, deletions, requests of every kind, sessions that come and
// go, every answer of the relay, lost and repeated events and messages, steps of the clock, interruptions and faults. A
// seed makes the same history each time; a failure prints its seed and the shortest history that fails. Mutants, stores
// with a planted mistake, must be found by histories.
//
//	go test ./tests/simulation                                  # as part of go test ./...; see tests/README.md
//	go test ./tests/simulation -v -run EveryCall -every         # every call in every way
//	go test ./tests/simulation -v -run Pushed -pushed 200       # 200 histories with real pushes of the Pub/Sub emulator
//	go test ./tests/simulation -v -run Mutants -shortest        # the mutants, and the shortest history that finds each
//	for i in $(seq 10); do                                      # 10,000 histories
//	    go test ./tests/simulation -v -count=1 -parallel 4 -run TestHistories -rapid.checks=250 -timeout 1h || break
//	done
//
// A round has no more than 1,000 histories, because the emulator keeps what is deleted: more would fill its memory. With
// FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST naming emulators that are warm and have 6 GB, one round of 10,000
// (-rapid.checks=2500) is twice as fast.
//
// What is tested: crashpoints_test.go and flows_test.go; histories_test.go plays what history_test.go generates, and
// mutants_test.go plants mistakes, whose histories shorten_test.go makes short.
//
// What they stand on, whose parts they use by their exported names: simulation_test.go sets up a run and checks it,
// population_test.go is who takes part, actions_test.go what owners and requesters do, relay_test.go the relay, clock_test.go
// the time and backend_test.go the database. platform_test.go runs the functions, here_test.go what is claimed where the
// requester's session is, and settle_test.go lets everything come to its end. faults_test.go has the ways in which a call can
// go wrong, calls_test.go does that to Firestore's. topic_test.go is the topic in memory, pulled_test.go and pushed_test.go
// are topics of the Pub/Sub emulator. replay_test.go judges commit by commit, replay_broken_test.go that this judge sees what is
// broken, and tally_test.go counts what came about.
package simulation

import (
	"flag"
	"os"
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
)

// TestMain gives rapid defaults for plays that cost about 50 ms each. The command line may say otherwise.
func TestMain(m *testing.M) {
	defaults := map[string]string{
		"rapid.checks":     "30",   // of each of the four players
		"rapid.shrinktime": "20s",  // a failure is minimised for so long
		"rapid.nofailfile": "true", // a seed is enough: histories play out the same each time
	}
	for name, value := range defaults {
		if err := flag.Set(name, value); err != nil {
			panic(err) // a flag of rapid has changed
		}
	}
	os.Exit(emutest.Main(m))
}
