package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

func newTestBench(t *testing.T) *bench {
	t.Helper()
	emutest.Project(t)
	wire, err := newWire(emutest.Emulators(t).Firestore.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wire.Close() })
	return &bench{sizes: short, Report: newReport(options{short: true}), wire: wire}
}

// Whoever makes a claim or a push read or write more has to say which promise needs it.
func TestEveryOperationHasAReason(t *testing.T) {
	t.Parallel()
	b := newTestBench(t)
	if err := b.cost(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	b.print(&out)
	t.Log(out.String())
	if len(b.missed) > 0 {
		t.Errorf("not met: %q", b.missed)
	}
}

func TestAHotOwnerIsServedByManyInstances(t *testing.T) {
	t.Parallel()
	b := newTestBench(t)
	each, err := b.burst(t.Context(), b.table("", ""), "one owner", burst{owners: 1, requests: 20, atOnce: 20, instances: 4})
	if err != nil || len(each) != 20 || slices.Min(each) == 0 {
		t.Errorf("%d requests served: %v", len(each), err)
	}
}

// Calls at the same time are one round trip, whatever the machine does meanwhile.
func TestRoundTripsInARow(t *testing.T) {
	t.Parallel()
	m, start := newMeter(), time.Unix(1700000000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	m.spans = []span{{at(0), at(10)}, {at(0), at(11)}, {at(12), at(22)}, {at(1), at(12)}, {at(23), at(33)}}
	if _, trips := m.take(); trips != 3 {
		t.Errorf("%d round trips in a row, want 3", trips)
	}
}

func TestTheWireDelays(t *testing.T) {
	t.Parallel()
	b := newTestBench(t)
	b.wire.set(time.Second)
	conn, err := net.Dial("tcp", b.wire.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	took, err := timed(func() error {
		_, err := fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
		return errors.Join(err, func() error { _, err := conn.Read(make([]byte, 1)); return err }())
	})
	if err != nil || took < time.Second {
		t.Errorf("an answer took %v: %v", took, err)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var hundred sample
	for i := 100; i >= 1; i-- {
		hundred = append(hundred, time.Duration(i)*time.Millisecond)
	}
	for share, want := range map[float64]float64{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := hundred.quantile(share); got != want {
			t.Errorf("quantile(%v) = %v, want %v", share, got, want)
		}
	}
	if got := (sample{}).quantile(0.5); !math.IsNaN(got) {
		t.Errorf("of nothing: %v, want NaN", got)
	}
}

func TestJourneyAddsUp(t *testing.T) {
	t.Parallel()
	start := time.Unix(1700000000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	j := journey{sent: at(0), claiming: at(2), published: at(10), pushed: at(60), arrived: at(75)}
	if j.share() != 23*time.Millisecond || j.hops() != 52*time.Millisecond || j.whole() != 75*time.Millisecond {
		t.Errorf("share %v, hops %v of %v", j.share(), j.hops(), j.whole())
	}
}

// A picture is readable on any page: it has no background, and says from which run it comes.
func TestPictures(t *testing.T) {
	t.Parallel()
	r := newReport(options{short: true, only: "cost"})
	p := r.picture("cost", "What it costs", "cents")
	p.set("reads", "before", 63)
	p.set("reads", "now", 9.3)
	p.set("writes", "now", 8)
	dir := t.TempDir()
	if err := r.draw(dir); err != nil {
		t.Fatal(err)
	}
	drawn, err := os.ReadFile(filepath.Join(dir, "cost.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"SHORT run", "go run ./tests/bench -short -only cost", "What it costs", "before", ">63<", ">9.30<"} {
		if !strings.Contains(string(drawn), want) {
			t.Errorf("the picture does not say %q", want)
		}
	}
}
