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
		{"-bench=.", "./plugin/guard", "./scheduler/store", "./scheduler/replica"},
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

// reader picks results, and notes those that are missing, so that a renamed benchmark is noticed.
type reader struct {
	all     results
	missing []string
}

func (r *reader) get(benchmark, unit string) float64 {
	value, ok := r.all[benchmark][unit]
	if !ok {
		r.missing = append(r.missing, benchmark+" "+unit)
	}
	return value
}

// choose turns results into figures.
func choose(all results) ([]Figure, error) {
	r := &reader{all: all}
	figures := append(r.plugin(), r.scheduler()...)
	if len(r.missing) > 0 {
		return nil, fmt.Errorf("benchmarks without a result: %s", strings.Join(r.missing, ", "))
	}
	return figures, nil
}

func (r *reader) plugin() []Figure {
	get1, get16 := r.get("BenchmarkGet/clients=1", "calls/s"), r.get("BenchmarkGet/clients=16", "calls/s")
	create1, create16 := r.get("BenchmarkCreate/clients=1", "calls/s"), r.get("BenchmarkCreate/clients=16", "calls/s")
	sync1 := r.get("BenchmarkSyncPerCall/clients=1", "calls/s")
	beat := func(leases, unit string) float64 { return r.get("BenchmarkHeartbeat/"+leases, unit) }
	figures := []Figure{
		{Name: "Get, 1 client", Value: get1, Unit: "calls/s", Met: true},
		atLeast("Get, 16 clients", "calls/s", get16, 15000),
		atMost("99 of 100 of these take at most", "ms", r.get("BenchmarkGet/clients=16", "p99-ms"), 5),
		against("durable Create, 1 client / one fsync per call", "calls/s", create1, sync1, "", func(float64) bool { return true }),
		against("durable Create, 16 clients / one fsync per call", "calls/s", create16, sync1, ">= 10", func(r float64) bool { return r >= 10 }),
		atMost("plugin heap for 1,000 volumes", "MB", r.get("BenchmarkThousandVolumes", "heap-KiB")/1024, 40),
		against("written with a heartbeat, 1,000 leases in the store / 1 lease", "bytes", beat("store/leases=1000", "written-B/op"), beat("store/leases=1", "written-B/op"),
			"<= 1.05", func(r float64) bool { return r <= 1.05 }),
		{Name: "read with it", Value: beat("store/leases=1000", "read-B/op"), Unit: "bytes", Met: true},
		{Name: "read with it, leases in ZooKeeper", Value: beat("zookeeper/leases=1000", "read-B/op"), Unit: "bytes", Met: true},
	}
	for _, fs := range []string{"ext4", "xfs"} {
		figures = append(figures,
			atMost("first mount of a new image of 100 GB, "+fs, "ms", r.get("BenchmarkFirstMount/"+fs, "ns/op")/1e6, 80),
			atMost("later mount of an image of 100 GB, "+fs, "ms", r.get("BenchmarkLaterMount/"+fs, "ns/op")/1e6, 30))
	}
	return figures
}

func (r *reader) scheduler() []Figure {
	return []Figure{
		atMost("10,000 offers, 1,000 nodes: decode, decide, answer", "ms", r.get("BenchmarkTenThousandOffers/all_wait", "ns/op")/1e6, 100),
		atMost("scheduler heap while answering 10,000 offers, 1,000 nodes", "MB", r.get("BenchmarkMemory", "MB_answering"), 64),
		atMost("scheduler process with 10,000 agents, 1,000 nodes: most memory", "MB", r.get("BenchmarkResidentMemory", "MB"), 64),
		atLeast("status updates saved and acknowledged, 1,000 nodes", "updates/s", r.get("BenchmarkUpdates", "updates/s"), 10000),
		atMost("1,000 nodes launched on 1,000 agents", "s", r.get("BenchmarkLaunch", "ns/op")/1e9, 30),
		atMost("1,000 nodes reconciled by a scheduler that starts", "s", r.get("BenchmarkReconcile", "ns/op")/1e9, 1),
		atMost("state of 1,000 nodes in ZooKeeper", "MB", r.get("BenchmarkStateInZooKeeper", "MB"), 1),
		atMost("largest record of it", "bytes", r.get("BenchmarkStateInZooKeeper", "bytes/record"), 2048),
		atMost("clean stop of the leading scheduler to the next one's subscription", "s", r.get("BenchmarkLeaderStop", "ns/op")/1e9, 1),
		atMost("death of the leading scheduler to the next launch", "s", r.get("BenchmarkLeaderDeath", "ns/op")/1e9, 10),
	}
}

func atMost(name, unit string, value, aim float64) Figure {
	return Figure{Name: name, Value: value, Unit: unit, Aim: fmt.Sprintf("<= %g", aim), Met: value <= aim}
}

func atLeast(name, unit string, value, aim float64) Figure {
	return Figure{Name: name, Value: value, Unit: unit, Aim: fmt.Sprintf(">= %g", aim), Met: value >= aim}
}
