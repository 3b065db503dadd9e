package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/process"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/relaytest"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// upstreams are modules of their own, with dependencies that only they have.
var upstreams = flag.Bool("upstreams", false, "also judge the gateway before each relay of tests/upstreams")

// TestMain has more tests run at once than there are cores: most of the time they wait for what must not come.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(emutest.Main(m))
}

const (
	quiet = 200 * time.Millisecond // enough on one machine
	slack = 2 * time.Minute        // the machine may be busy; nothing waits for it to pass
)

// serve starts a gateway and returns it as a target with all that can be known of it.
func serve(t *testing.T, settings map[string]string) Target {
	t.Helper()
	r := relaytest.Serve(t, settings)
	return Target{
		Relay: r.URL, Endpoint: r.Endpoint,
		Token: r.Token(), OtherAudience: r.TokenFor("https://elsewhere.example"), OtherCaller: r.StrangersToken(),
		Documents: r.Documents, Collections: r.Collections, Quiet: quiet, Slack: slack,
	}
}

func TestTheGatewayConforms(t *testing.T) {
	t.Parallel()
	gateways := map[string]map[string]string{
		"before khatru":     nil,
		"with functions":    {config.RequestsServedBy: string(config.ServedByFunctions)},
		"without a request": {"REQ_CLAIMS": "off"},
		"alone":             {config.UpstreamRelayURL: ""},
	}
	if *upstreams {
		for _, name := range []string{"rely", "relayer"} {
			gateways["before "+name] = map[string]string{config.UpstreamRelayURL: startUpstream(t, name)}
		}
	}
	for name, settings := range gateways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conforms(t, serve(t, settings), len(settings) == 0 || settings[config.UpstreamRelayURL] != "" || name == "alone")
		})
	}
}

// conforms fails for each rule that is broken, or not checked although it could be.
func conforms(t *testing.T, target Target, reqIsRequest bool) {
	t.Helper()
	told := 0
	err := Run(t.Context(), target, func(r rule, err error) {
		told++
		expected, notChecked := err == nil, errors.Is(err, errNotChecked)
		switch {
		case r.name == "nudge", r.name == "req" && !reqIsRequest:
			expected = notChecked
		case r.name == "five-seconds": // a session that a busy machine keeps from reading is ended at last
			expected = err == nil || notChecked
		}
		if !expected {
			t.Errorf("%s: %v", r.name, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if told != len(rules) {
		t.Errorf("%d of %d rules were judged", told, len(rules))
	}
}

// startUpstream builds and runs a relay of tests/upstreams, and returns its websocket URL.
func startUpstream(t *testing.T, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("..", "upstreams", name)
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, output)
	}
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := process.Addr(port)
	relay := &process.Process{Name: name, Path: program, Args: []string{addr}, LogFile: program + ".log", Ready: process.Listens(addr)}
	t.Cleanup(func() { _ = relay.Kill() })
	if err := relay.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return "ws://" + addr
}
