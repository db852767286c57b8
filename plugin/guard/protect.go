package guard

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	spared   = "-999" // of the kernel's search for memory; -1000 would spare it even when it leaks
	priority = -10
)

// protect makes the guard run when the machine is short of memory or busy. What is not permitted is left
// undone and returned as notes: a guard that may be slow is better than none.
func protect() []string {
	var notes []string
	note := func(what string, err error) {
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: %v", what, err))
		}
	}
	note("memory of the start not given back", giveBack())
	// A page stays once it was used; the whole binary would be several times what the guard needs.
	note("memory not locked", unix.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT))
	note("not spared when memory is short", os.WriteFile("/proc/self/oom_score_adj", []byte(spared), 0))
	note("priority not raised", unix.Setpriority(unix.PRIO_PGRP, 0, priority))
	return notes
}
