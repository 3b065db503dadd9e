package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// TestShortSoak is the soak in small: every fault but lost triggers, which take the scheduled function half a minute.
func TestShortSoak(t *testing.T) {
	t.Parallel()
	binary := build(t)
	for _, servedBy := range []config.ServedBy{config.ServedByFunctions, config.ServedByGateway} {
		t.Run(string(servedBy), func(t *testing.T) {
			t.Parallel()
			shortSoak(t, Options{
				Duration: 12 * time.Second, Seed: 50, // its first crashes are those of the gateway, of Pub/Sub, and of the gateway
				Rate: 8, Life: 30 * time.Second, ServedBy: servedBy,
				Faults: true, CrashEvery: time.Second, KeepTriggers: true,
				Binary: binary, Logs: t.TempDir(),
			})
		})
	}
}

func shortSoak(t *testing.T, opts Options) {
	t.Helper()
	report, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	report.Print(t.Output())
	if !report.OK {
		t.Error("promises were broken")
	}
	for what, n := range map[string]int{
		"requests": report.Requests, "deliveries": report.Deliveries, "received": report.Received, "faults": sum(report.Faults),
		"restarts of Pub/Sub": report.Faults[suite.PubSub+" killed"], "restarts of the gateway": report.Faults[suite.Gateway+" killed"],
	} {
		if n == 0 {
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
		{"-duration", "-1s"}, {"-duration", "0s"}, {"-rate", "0"}, {"-rate", "-1"}, {"-owners", "0"}, {"-requesters", "0"},
	} {
		if err := runSoak(t.Context(), args); err == nil || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 8)
	h := newHistory()
	h.secret(strings.Repeat("5ec3e7", 11)[:64])
	h.uploads["id"] = &upload{content: content, signature: strings.Repeat("51", 64)}
	for name, test := range map[string]struct {
		log  string
		want string
	}{
		"nothing":       {`{"message":"granted","request_event_id":"` + strings.Repeat("ab", 32) + `"}`, ""},
		"whole content": {"x " + content + " y", "content of a KeyPackage"},
		"cut content":   {"x " + content[13:76] + " y", "content of a KeyPackage"},
		"event":         {`\"sig\":\"` + strings.Repeat("51", 64), "an event's signature"},
		"secret":        {"key " + strings.Repeat("5ec3e7", 11)[:64], "a secret key"},
		"token":         {"Bearer eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2ln", "a token"},
	} {
		if got := leak([]byte(test.log), h.chunks()); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestALeakFailsTheSoak(t *testing.T) {
	t.Parallel()
	s := &soak{Options: Options{Logs: t.TempDir()}, history: newHistory()}
	report := newReport(s.Options, s.history, 0)
	if err := s.searchLogs(report); err == nil {
		t.Error("no logs, and no error")
	}
	s.history.secret(strings.Repeat("5ec3e7", 11)[:64])
	if err := os.WriteFile(filepath.Join(s.Logs, "upstream.log"), []byte(strings.Repeat("5ec3e7", 11)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.searchLogs(report); err != nil || report.OK || len(report.Leaks) != 1 {
		t.Errorf("searchLogs = %v, ok %v, leaks %v", err, report.OK, report.Leaks)
	}
}
