package main

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/emulators/emutest"
)

func TestMain(m *testing.M) { os.Exit(emutest.Main(m)) }

// Whoever makes a claim or a push read or write more has to say which promise needs it.
func TestEveryOperationHasAReason(t *testing.T) {
	t.Parallel()
	emutest.Project(t)
	b := &bench{sizes: short, report: newReport(true), invocations: nan}
	if err := b.cost(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, target := range b.report.Targets {
		if !target.Met {
			t.Errorf("%s: %s", target.What, target.Measured)
		}
	}
	var out strings.Builder
	b.report.Print(&out)
	if len(b.report.Tables) != 1 || t.Failed() {
		t.Log(out.String())
	}
}

func TestClaimsAreAnsweredOnce(t *testing.T) {
	t.Parallel()
	emutest.Project(t)
	b := &bench{sizes: short, report: newReport(true)}
	for _, combine := range []bool{true, false} {
		got, err := b.claimBurst(t.Context(), burst{owners: 1, requests: 10, atOnce: 10, combine: combine})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.each) != 10 || got.twice != 0 {
			t.Errorf("combining %v: %d answers, %d packages handed out twice", combine, len(got.each), got.twice)
		}
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

func TestReadBenchmark(t *testing.T) {
	t.Parallel()
	name, values, ok := readBenchmark("BenchmarkVerify/suite1-2   	    9086	    121325 ns/op	    1824 B/op	      18 allocs/op")
	if !ok || name != "Verify/suite1" || values["ns/op"] != 121325 || values["allocs/op"] != 18 {
		t.Errorf("got %q %v %v", name, values, ok)
	}
	if _, _, ok := readBenchmark("ok  	example.com/mls	1.2s"); ok {
		t.Error("a summary was taken for a benchmark")
	}
}
