package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// goBenchmarks runs the benchmarks beside the code and picks the figures with an aim.
func goBenchmarks(ctx context.Context) ([]Figure, error) {
	var output []byte
	for _, run := range [][]string{
		{"-bench=.", "./plugin", "./scheduler", "./coordinator"},
		{"-bench=^Benchmark(First|Later)Mount$", "./plugin/backend"}, // the others there are for work on the back ends
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-run=^$", "-benchtime=2s", "-timeout=15m"}, run...)...)
		cmd.Stderr = os.Stderr
		printed, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("run the benchmarks: %w\n%s", err, printed)
		}
		output = append(output, printed...)
	}
	return choose(parse(output))
}

// results are metrics by benchmark and unit.
type results map[string]map[string]float64

// parse reads lines such as "BenchmarkGet/clients=1-2  100  123 ns/op  8130 calls/s".
func parse(output []byte) results {
	all := results{}
	for lines := bufio.NewScanner(bytes.NewReader(output)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		name := words[0]
		if dash := strings.LastIndexByte(name, '-'); dash > 0 {
			name = name[:dash] // the number of processors
		}
		all[name] = map[string]float64{}
		for i := 2; i+1 < len(words); i += 2 {
			if value, err := strconv.ParseFloat(words[i], 64); err == nil {
				all[name][words[i+1]] = value
			}
		}
	}
	return all
}

// choose turns results into figures; a benchmark that is missing is an error, so that a renamed one is noticed.
func choose(all results) ([]Figure, error) {
	var missing []string
	get := func(benchmark, unit string) float64 {
		value, ok := all[benchmark][unit]
		if !ok {
			missing = append(missing, benchmark+" "+unit)
		}
		return value
	}
	absolute := func(name, unit string, value float64, aim string, met bool) Figure {
		return Figure{Name: name, Value: value, Unit: unit, Aim: aim, Met: met}
	}
	get1, get16 := get("BenchmarkGet/clients=1", "calls/s"), get("BenchmarkGet/clients=16", "calls/s")
	create1, create16 := get("BenchmarkCreate/clients=1", "calls/s"), get("BenchmarkCreate/clients=16", "calls/s")
	sync1 := get("BenchmarkSyncPerCall/clients=1", "calls/s")
	offers := get("BenchmarkTenThousandOffers/all_wait", "ns/op") / 1e6
	memory := get("BenchmarkMemory", "MB_answering")
	volumes := get("BenchmarkThousandVolumes", "heap-KiB") / 1024
	figures := []Figure{
		absolute("Get, 1 client", "calls/s", get1, "", true),
		absolute("Get, 16 clients", "calls/s", get16, ">= 15000", get16 >= 15000),
		against("durable Create, 1 client / one fsync per call", "calls/s", create1, sync1, "", func(float64) bool { return true }),
		against("durable Create, 16 clients / one fsync per call", "calls/s", create16, sync1, ">= 10", func(r float64) bool { return r >= 10 }),
		absolute("10,000 offers, 1,000 nodes: decode, decide, answer", "ms", offers, "<= 100", offers <= 100),
		absolute("scheduler heap while answering 10,000 offers, 1,000 nodes", "MB", memory, "<= 64", memory <= 64),
		absolute("plugin heap for 1,000 volumes", "MB", volumes, "<= 40", volumes <= 40),
	}
	for _, fs := range []string{"ext4", "xfs"} {
		first, later := get("BenchmarkFirstMount/"+fs, "ns/op")/1e6, get("BenchmarkLaterMount/"+fs, "ns/op")/1e6
		figures = append(figures,
			absolute("first mount of a new image of 100 GB, "+fs, "ms", first, "<= 80", first <= 80),
			absolute("later mount of an image of 100 GB, "+fs, "ms", later, "<= 30", later <= 30))
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("benchmarks without a result: %s", strings.Join(missing, ", "))
	}
	return figures, nil
}
