package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// benchmarked are the packages whose benchmarks tell where a function's CPU time goes.
var benchmarked = []string{"./shared/mls", "./shared/keypackage", "./shared/claiming", "./shared/topic", "./functions/claim"}

// cpu runs the benchmarks of the parts that only calculate.
func (b *bench) cpu(ctx context.Context) error {
	args := append([]string{"test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", b.sizes.benchtime}, benchmarked...)
	command := exec.CommandContext(ctx, "go", args...)
	module, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	command.Dir = strings.TrimSpace(string(module))
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test -bench: %w: %s", err, output)
	}
	t := b.report.table("cpu", "Calculation (go test -bench), one core", "µs", "bytes", "allocations")
	for lines := bufio.NewScanner(bytes.NewReader(output)); lines.Scan(); {
		if name, values, ok := readBenchmark(lines.Text()); ok {
			t.add(name, values["ns/op"]/1000, values["B/op"], values["allocs/op"])
		}
	}
	return nil
}

// readBenchmark reads a line as go test prints it: name, iterations, and pairs of value and unit.
func readBenchmark(line string) (name string, values map[string]float64, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
		return "", nil, false
	}
	name, _, _ = strings.Cut(strings.TrimPrefix(fields[0], "Benchmark"), "-")
	values = make(map[string]float64)
	for i := 2; i+1 < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return "", nil, false
		}
		values[fields[i+1]] = value
	}
	return name, values, true
}
