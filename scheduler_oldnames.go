package main

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// failover is a time. A bare number is in seconds: as such the Java framework handed its --frameworkFailoverTimeout to Mesos,
// whatever its manual says.
type failover time.Duration

func (f failover) String() string { return time.Duration(f).String() }

// UnmarshalText reads 672h or 2419200.
func (f *failover) UnmarshalText(text []byte) error {
	seconds, err := strconv.ParseFloat(string(text), 64)
	d := time.Duration(seconds * float64(time.Second))
	if err != nil {
		d, err = time.ParseDuration(string(text))
	} else if !(math.Abs(seconds) < math.MaxInt64/float64(time.Second)) {
		err = strconv.ErrRange
	}
	if err != nil || d < 0 {
		return fmt.Errorf("failover %q: use a time such as 672h, or a number of seconds", text)
	}
	*f = failover(d)
	return nil
}

// listenAddress takes a bare port, as the Java framework's --webUiPort does, for that port on all addresses.
func listenAddress(text string) string {
	if _, err := strconv.ParseUint(text, 10, 16); err == nil {
		return ":" + text
	}
	return text
}
