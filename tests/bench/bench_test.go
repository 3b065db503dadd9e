package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
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
	t.Cleanup(wire.close)
	return &bench{sizes: short, report: newReport(true), wire: wire}
}

// Whoever makes a claim or a push read or write more has to say which promise needs it.
func TestEveryOperationHasAReason(t *testing.T) {
	t.Parallel()
	b := newTestBench(t)
	if err := b.cost(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, target := range b.report.Targets {
		if strings.Contains(target.What, "no promise needs") && !target.Met {
			t.Errorf("%s: %v", target.What, target.Measured)
		}
	}
	var out strings.Builder
	b.report.Print(&out)
	t.Log(out.String())
}

func TestAHotOwnerIsServedByManyInstances(t *testing.T) {
	t.Parallel()
	b := newTestBench(t)
	table := b.report.table("", "")
	got, err := b.claimBurst(t.Context(), table, "one owner", burst{owners: 1, requests: 20, atOnce: 20, instances: 4})
	if err != nil || len(got.each) != 20 || slices.Min(got.each) == 0 {
		t.Errorf("%d requests served: %v", len(got.each), err)
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
	conn, err := net.Dial("tcp", b.wire.addr)
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
	s, start := newStamps(), time.Unix(1700000000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	s.claiming("a", at(2))
	s.claiming("a", at(90)) // the event came twice
	s.pushed("a", at(10), at(60))
	j := s.take("a", at(0), at(75))
	if j.trigger()+j.first()+j.message()+j.second() != j.whole() {
		t.Errorf("%v + %v + %v + %v is not %v", j.trigger(), j.first(), j.message(), j.second(), j.whole())
	}
	if j.share() != 23*time.Millisecond {
		t.Errorf("share = %v, want 23ms", j.share())
	}
}
