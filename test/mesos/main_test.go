// Package mesos_test shows what becomes of nodes when a real Mesos does what it does: real masters, agents and ZooKeeper, Mooring's
// own scheduler and executor. Only the container is made up, so neither Docker nor Elasticsearch is needed. What each test is for
// stands in docs/mesos.md.
package mesos_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"mooring/executor"
	"mooring/executor/runtimetest"
)

// Agents start this program anew to run the executor in it.
const (
	gateVariable = "MOORING_TEST_GATE" // a file without which the executor does not begin; empty: it begins at once
	atOnce       = 8                   // tests that run at the same time: most of them wait most of the time
	all          = "1000"              // tests that may wait for their turn
)

var turns = make(chan struct{}, atOnce)

// inTurn lets a test run beside others, but not beside all. One that does little but wait for long is just parallel.
func inTurn(t *testing.T) {
	t.Helper()
	t.Parallel()
	turns <- struct{}{}
	t.Cleanup(func() { <-turns })
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "executor" {
		os.Exit(beExecutor())
	}
	if _, err := os.Stat(programs); (err != nil || os.Geteuid() != 0) && os.Getenv("MOORING_NO_SKIPS") == "" {
		fmt.Println("NOT TESTED: agents need root, and Mesos in", programs)
		return
	}
	flag.Parse()
	if err := flag.Set("test.parallel", all); err != nil {
		panic(err) // the flag is as old as package testing
	}
	goleak.VerifyTestMain(m)
}

// beExecutor is Mooring's executor with a container that is only pretended. It notes its environment in its sandbox.
func beExecutor() (status int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	environment := strings.Join(os.Environ(), "\n")
	if err := os.WriteFile(filepath.Join(os.Getenv("MESOS_SANDBOX"), environmentFile), []byte(environment), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for gate := os.Getenv(gateVariable); gate != ""; {
		if _, err := os.Stat(gate); err == nil {
			break
		}
		time.Sleep(pause)
	}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: os.Stderr})
	if err := executor.Run(ctx, &runtimetest.Fake{}, executor.Options{Log: log}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
