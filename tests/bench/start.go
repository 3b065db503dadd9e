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
	system, err := b.newSystem(ctx, b.suite, 10)
	if err != nil {
		return err
	}
	defer system.close()
	if err := system.restock(ctx, b.sizes.coldStarts); err != nil {
		return err
	}
	t := b.report.table("Start of ClaimKeyPackages", "p50 ms", "max ms")
	t.note("Until the first answer, a real one: clients are built, Firestore and Pub/Sub are connected to, a package is claimed and")
	t.note("its message published. The process is this program, which holds more than what is deployed.")
	var listens, answers sample
	for i := range b.sizes.coldStarts {
		b.progress("cold start %d of %d", i+1, b.sizes.coldStarts)
		listening, err := timed(func() error { return b.suite.Restart(ctx, suite.Claim) })
		if err != nil {
			return err
		}
		journeys, err := run(ctx, system, 1, 1)
		if err != nil {
			return err
		}
		listens, answers = append(listens, listening), append(answers, listening+journeys[0].first())
	}
	t.add("until it listens", listens.quantile(0.5), listens.quantile(1))
	t.add("until the first answer", answers.quantile(0.5), answers.quantile(1))
	b.report.atMost("cold start, p50, ms", answers.quantile(0.5), 200)
	return b.usage(ctx, system)
}

// usage measures what many requests take of the functions' processes, from a start of theirs.
func (b *bench) usage(ctx context.Context, s *system) error {
	t := b.report.table(fmt.Sprintf("What %d requests take of a function", b.sizes.served),
		"resident MB when ready", "after them", "at most", "CPU ms for each")
	functions := []string{suite.Claim, suite.Deliver}
	before := make(map[string]usage)
	for _, name := range functions {
		if err := b.suite.Restart(ctx, name); err != nil {
			return err
		}
		before[name] = usageOf(b.suite.PID(name))
	}
	b.progress("%d requests", b.sizes.served)
	if _, err := b.fresh(ctx, s, len(s.requesters), b.sizes.served); err != nil {
		return err
	}
	var err error
	for _, name := range functions {
		ready, now := before[name], usageOf(b.suite.PID(name))
		if now.resident == 0 {
			err = errors.Join(err, fmt.Errorf("%s: no figures, which only Linux has", name))
		}
		t.add(name, ready.resident, now.resident, now.peak, milliseconds(now.cpu-ready.cpu)/float64(b.sizes.served))
		b.report.atMost(name+": resident after its requests, MB", now.resident, 64)
	}
	return err
}

// usage is what a process holds and has taken; zero where there is no /proc.
type usage struct {
	resident, peak float64 // MB (10^6 bytes)
	cpu            time.Duration
}

func usageOf(pid int) (u usage) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		name, figure, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(figure), " kB"), 64)
		switch name {
		case "VmRSS":
			u.resident = kib * 1024 / 1e6
		case "VmHWM":
			u.peak = kib * 1024 / 1e6
		}
	}
	const userTime, ticksPerSecond = 11, 100 // counted behind the name, which ends with a bracket; ticks as Linux shows them
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, behind, _ := strings.Cut(string(stat), ") ")
	if fields := strings.Fields(behind); len(fields) > userTime+1 {
		user, _ := strconv.ParseInt(fields[userTime], 10, 64)
		system, _ := strconv.ParseInt(fields[userTime+1], 10, 64)
		u.cpu = time.Duration(user+system) * time.Second / ticksPerSecond
	}
	return u
}
