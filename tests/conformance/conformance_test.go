package main

import (
	"os"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/relay/relaytest"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

const (
	quiet = 200 * time.Millisecond // enough on one machine
	slack = 2 * time.Minute        // the machine may be busy; nothing waits for it to pass
)

// serve starts a reference relay and returns it as a target with all tokens.
func serve(t *testing.T, compatible bool) Target {
	t.Helper()
	r := relaytest.Serve(t, compatible)
	return Target{
		Relay: r.URL, Endpoint: r.Endpoint,
		Token: r.Token(), OtherAudience: r.TokenFor("https://elsewhere.example"), OtherCaller: r.StrangersToken(),
		Compatible: compatible, Quiet: quiet, Slack: slack,
	}
}

func TestTheReferenceRelayConforms(t *testing.T) {
	t.Parallel()
	for name, compatible := range map[string]bool{"strict": false, "compatible": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := 0
			_, err := Run(t.Context(), serve(t, compatible), func(r Result) {
				told++
				expected := r.Verdict == Pass
				switch r.Rule {
				case "nudge":
					expected = r.Verdict == NotChecked
				case "five-seconds": // a session that a busy machine keeps from reading is ended at last
					expected = r.Verdict != Fail
				}
				if !expected {
					t.Errorf("%s: %s: %s", r.Rule, r.Verdict, r.Detail)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if told != len(rules) {
				t.Errorf("%d of %d rules were judged", told, len(rules))
			}
		})
	}
}
