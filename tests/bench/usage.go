package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
	"github.com/keypackage-delivery/keypackage-delivery/shared/config"
)

// usage measures what many requests take of the functions' processes, from a start of theirs.
func (b *bench) usage(ctx context.Context) error {
	const requesters = 20
	s, err := b.newSystem(ctx, config.ServedByFunctions, requesters)
	if err != nil {
		return err
	}
	defer s.close()
	functions := [2]string{suite.Claim, suite.Deliver}
	var ready [2]process
	for i, name := range functions {
		ready[i] = processOf(s.suite.PID(name))
	}
	progress("%d requests", b.sizes.served)
	if _, err := b.ask(ctx, s, requesters, b.sizes.served); err != nil {
		return err
	}
	t := b.table(fmt.Sprintf("What %d requests take of a function, which is this program here, more than what is deployed", b.sizes.served),
		"resident MB when ready", "after them", "CPU ms for each")
	for i, name := range functions {
		now := processOf(s.suite.PID(name))
		t.add(name, ready[i].resident, now.resident, milliseconds(now.cpu-ready[i].cpu)/float64(b.sizes.served))
		b.atMost(name+": resident after its requests, MB", now.resident, 64)
	}
	return nil
}

// process is what a process holds and has taken.
type process struct {
	resident float64 // MB (10^6 bytes)
	cpu      time.Duration
}

func processOf(pid int) process {
	p := process{resident: math.NaN()} // where there is no /proc
	// The fields of proc(5), numbered from the state, which stands behind the name and its bracket.
	const userTime, systemTime, residentPages, ticksPerSecond = 11, 12, 21, 100
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, behind, _ := strings.Cut(string(stat), ") ")
	if fields := strings.Fields(behind); len(fields) > residentPages {
		number := func(i int) int { n, _ := strconv.Atoi(fields[i]); return n }
		p.resident = float64(number(residentPages)*os.Getpagesize()) / 1e6
		p.cpu = time.Duration(number(userTime)+number(systemTime)) * time.Second / ticksPerSecond
	}
	return p
}
