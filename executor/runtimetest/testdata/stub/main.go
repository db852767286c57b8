// Command stub stands for `mooring node` in tests of runtimes. It says in the run directory how it was started and then lives
// until a signal, or as its environment says.
package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGQUIT)
	dir := os.Getenv("MOORING_RUN_DIR")
	if dir == "" {
		dir = "/run/mooring"
	}
	text := strings.Join(append(os.Args[1:], "id="+os.Getenv("ELASTICSEARCH_NODE_ID")), " ")
	if err := os.WriteFile(filepath.Join(dir, "started"), []byte(text), 0o644); err != nil {
		os.Exit(99)
	}
	if code, err := strconv.Atoi(os.Getenv("STUB_EXIT")); err == nil {
		os.Exit(code)
	}
	for s := range signals {
		switch {
		case s == syscall.SIGQUIT:
			os.Exit(128 + int(syscall.SIGKILL))
		case os.Getenv("STUB_STUBBORN") == "":
			os.Exit(128 + int(syscall.SIGTERM))
		}
	}
}
