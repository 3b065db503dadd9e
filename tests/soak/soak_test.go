package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// TestShortSoak is the soak in small. What takes most of its time is the end of what was lost: the scheduled function looks
// for it after half a minute.
func TestShortSoak(t *testing.T) {
	t.Parallel()
	binary := build(t)
	for _, servedBy := range []config.ServedBy{config.ServedByFunctions, config.ServedByGateway} {
		t.Run(string(servedBy), func(t *testing.T) {
			t.Parallel()
			s := newSoak()
			s.duration, s.seed, s.rate = 8*time.Second, 50, 8 // the first crashes are those of the gateway, of Pub/Sub, and of the gateway
			s.life, s.faults, s.crashEvery = 30*time.Second, true, time.Second
			s.RequestsServedBy, s.Binary, s.Dir, s.Progress = servedBy, binary, t.TempDir(), func(progress string) { t.Log(progress) }
			shortSoak(t, s)
		})
	}
}

func shortSoak(t *testing.T, s *soak) {
	t.Helper()
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.print(t.Output())
	if err := s.verdict(); err != nil {
		t.Error(err)
	}
	for _, what := range []string{
		"requests", "deliveries", "received", "faults", "faults: " + suite.PubSub + " killed", "faults: " + suite.Gateway + " killed",
	} {
		if s.counts[what] == 0 {
			t.Errorf("%s: none, so that nothing was tested", what)
		}
	}
}

// build builds without -race, whatever the test was built with: khatru, the relay behind the gateway, has races of its own.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "emulator")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the program that the suite runs: %v\n%s", err, output)
	}
	return binary
}

func TestASoakOfNothingIsRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-duration", "-1s"}, {"-duration", "0s"}, {"-rate", "0"}, {"-rate", "-1"}, {"-rate", "NaN"}, {"-rate", "Inf"},
	} {
		// Nothing was started: what fails later names its own arguments, too.
		if err := runSoak(t.Context(), args); err == nil || !strings.HasPrefix(err.Error(), "-") || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// A run in which nothing happened has kept every promise, and shows nothing.
func TestASoakWithoutRequestsIsNotOK(t *testing.T) {
	t.Parallel()
	s := newSoak()
	if s.verdict() == nil {
		t.Error("no request was made, and all is well")
	}
	s.counts = tally{"requests": 1}
	if err := s.verdict(); err != nil {
		t.Error("a request was made, nothing is wrong, and it is not well:", err)
	}
}

func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	h := newSoak()
	secret := h.newKey().Secret
	event, err := actors.NewKeyPackage(h.newKey(), "ws://relay.example", nostr.Now(), mlsgen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.upload(event); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		log  string
		want string
	}{
		"nothing":       {`{"message":"granted","request_event_id":"` + strings.Repeat("ab", 32) + `"}`, ""},
		"whole content": {"x " + event.Content + " y", "content of a KeyPackage"},
		"cut content":   {"x " + event.Content[13:76] + " y", "content of a KeyPackage"},
		"event":         {`\"sig\":\"` + event.Sig, "an event's signature"},
		"secret":        {"key " + secret, "a secret key"},
		"token":         {"Bearer eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2ln", "a token"},
	} {
		if got := h.leak([]byte(test.log)); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestALeakFailsTheSoak(t *testing.T) {
	t.Parallel()
	s := newSoak()
	s.Dir = t.TempDir()
	s.counts = tally{"requests": 1}
	if err := s.searchLogs(); err == nil {
		t.Error("no logs, and no error")
	}
	s.forbid(strings.Repeat("5ec3e7", 11)[:64], "a secret key")
	if err := os.WriteFile(filepath.Join(s.Dir, "upstream.log"), []byte(strings.Repeat("5ec3e7", 11)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.searchLogs(); err != nil || s.verdict() == nil || len(s.broken) != 1 {
		t.Errorf("searchLogs = %v, verdict %v, leaks %v", err, s.verdict(), s.broken)
	}
}
