package main

import (
	"os"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/relaytest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

const (
	quiet = 200 * time.Millisecond // enough on one machine
	slack = 2 * time.Minute        // the machine may be busy; nothing waits for it to pass
)

// serve starts a gateway and returns it as a target with all tokens.
func serve(t *testing.T, servedBy config.ServedBy) Target {
	t.Helper()
	r := relaytest.Serve(t, map[string]string{config.RequestsServedBy: string(servedBy)})
	return Target{
		Relay: r.URL, Endpoint: r.Endpoint,
		Token: r.Token(), OtherAudience: r.TokenFor("https://elsewhere.example"), OtherCaller: r.StrangersToken(),
		Quiet: quiet, Slack: slack,
	}
}

func TestTheGatewayConforms(t *testing.T) {
	t.Parallel()
	for _, servedBy := range []config.ServedBy{config.ServedByGateway, config.ServedByFunctions} {
		t.Run(string(servedBy), func(t *testing.T) {
			t.Parallel()
			told := 0
			_, err := Run(t.Context(), serve(t, servedBy), func(r Result) {
				told++
				expected := r.Verdict == Pass
				switch r.Rule {
				case "nudge":
					expected = r.Verdict == NotChecked
				case "req":
					expected = r.Verdict == Pass || servedBy == config.ServedByFunctions && r.Verdict == NotChecked
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
