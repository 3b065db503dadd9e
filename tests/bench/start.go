package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
)

// start measures the functions' processes: how fast one starts, and the memory and CPU that requests take.
func (b *bench) start(ctx context.Context) error {
	system, err := b.newSystem(ctx, b.suite, 20)
	if err != nil {
		return err
	}
	defer system.close()
	if err := system.restock(ctx, b.sizes.coldStarts); err != nil {
		return err
	}
	var listens, answers sample
	for i := range b.sizes.coldStarts {
		progress("cold start %d of %d", i+1, b.sizes.coldStarts)
		listening, err := timed(func() error { return b.suite.Restart(ctx, suite.Claim) })
		if err != nil {
			return err
		}
		journeys, err := ask(ctx, system, 1, 1)
		if err != nil {
			return err
		}
		first := journeys[0].published.Sub(journeys[0].claiming)
		listens, answers = append(listens, listening), append(answers, listening+first)
	}
	t := b.table("Start of ClaimKeyPackages", "p50 ms", "max ms")
	t.note("Until the first answer, a real one: clients are built, Firestore and Pub/Sub are connected to, a package is claimed and")
	t.note("its message published. The process is this program, which holds more than what is deployed.")
	t.add("until it listens", listens.quantile(0.5), listens.quantile(1))
	t.add("until the first answer", answers.quantile(0.5), answers.quantile(1))
	b.atMost("cold start, p50, ms", answers.quantile(0.5), 200)
	return b.usage(ctx, system)
}

// usage measures what many requests take of the functions' processes, from a start of theirs.
func (b *bench) usage(ctx context.Context, s *system) (err error) {
	functions := []string{suite.Claim, suite.Deliver}
	before := make(map[string]usage)
	for _, name := range functions {
		if err := b.suite.Restart(ctx, name); err != nil {
			return err
		}
		before[name] = usageOf(b.suite.PID(name))
	}
	progress("%d requests", b.sizes.served)
	if _, err := b.fresh(ctx, s, len(s.requesters), b.sizes.served); err != nil {
		return err
	}
	t := b.table(fmt.Sprintf("What %d requests take of a function", b.sizes.served), "resident MB when ready", "after them", "CPU ms for each")
	for _, name := range functions {
		ready, now := before[name], usageOf(b.suite.PID(name))
		if now.resident == 0 {
			err = errors.Join(err, fmt.Errorf("%s: no figures, which only Linux has", name))
		}
		t.add(name, ready.resident, now.resident, milliseconds(now.cpu-ready.cpu)/float64(b.sizes.served))
		b.atMost(name+": resident after its requests, MB", now.resident, 64)
	}
	return err
}

// usage is what a process holds and has taken; zero where there is no /proc.
type usage struct {
	resident float64 // MB (10^6 bytes)
	cpu      time.Duration
}

func usageOf(pid int) (u usage) {
	// The fields of proc(5), numbered from the state, which stands behind the name and its bracket.
	const userTime, systemTime, residentPages, ticksPerSecond = 11, 12, 21, 100
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, behind, _ := strings.Cut(string(stat), ") ")
	if fields := strings.Fields(behind); len(fields) > residentPages {
		number := func(i int) int { n, _ := strconv.Atoi(fields[i]); return n }
		u.resident = float64(number(residentPages)*os.Getpagesize()) / 1e6
		u.cpu = time.Duration(number(userTime)+number(systemTime)) * time.Second / ticksPerSecond
	}
	return u
}
