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

	"google.golang.org/grpc/stats"

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
	return &bench{short: true, report: newReport(true), wire: wire, fatal: func(err error) { t.Fatal(err) }}
}

// Whoever makes a claim or a push read or write more has to say which promise needs it.
func TestEveryOperationHasAReason(t *testing.T) {
	t.Parallel()
	b := newTestBench(t)
	b.cost(t.Context())
	var out strings.Builder
	b.print(&out)
	t.Log(out.String())
	if strings.Contains(out.String(), "NOT MET") {
		t.Error("a target is not met")
	}
}

func TestAHotOwnerIsServedByManyInstances(t *testing.T) {
	t.Parallel()
	b := newTestBench(t)
	_, took := b.offer(t.Context(), b.table(""), "one owner", offered{1, 20, 20, 4}, 0)
	if len(took) != 20 || slices.Min(took) == 0 {
		t.Errorf("%d requests served: %v", len(took), took)
	}
}

// Calls at the same time are one round trip, whatever the machine does meanwhile.
func TestRoundTripsInARow(t *testing.T) {
	t.Parallel()
	m, start := new(meter), time.Unix(1700000000, 0)
	for _, call := range [][2]time.Duration{{0, 10}, {0, 11}, {1, 12}, {12, 22}, {23, 33}} {
		m.HandleRPC(m.TagRPC(t.Context(), nil), &stats.End{BeginTime: start.Add(call[0]), EndTime: start.Add(call[1])})
	}
	if trips := m.take().trips; trips != 3 {
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
	begun := time.Now()
	_, sent := fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	_, received := conn.Read(make([]byte, 1))
	if took, err := time.Since(begun), errors.Join(sent, received); err != nil || took < time.Second {
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

// A picture is readable on any page: it has no background, and says from which run it comes.
func TestPictures(t *testing.T) {
	t.Parallel()
	r := newReport(true, "-short", "-only", "cost")
	p := r.table("What it costs", "before", "now")
	p.file, p.unit = "cost.svg", "cents"
	p.add("reads", 63, 9.3)
	p.add("writes", math.NaN(), 8)
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
