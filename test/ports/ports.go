// Package ports finds TCP ports for tests that have to know one before somebody listens there: a server that is yet to start, or to start
// again. A port that the kernel chose and that was given up again is the kernel's to give to the next one who asks, or who just connects
// somewhere; these are ports that it gives to nobody.
package ports

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// The range lies below what kernels choose from (from 32768 on), and below what Mooring and Mesos use at their defaults.
const (
	first = 20000
	count = 10000
)

var taken atomic.Uint32 // by this process

// Listen listens at such a port on 127.0.0.1. Once closed, nobody else listens there by chance.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	for range count {
		port := first + (uint32(os.Getpid())*97+taken.Add(1))%count // processes begin far from each other
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return l
		}
	}
	require.Fail(t, "no port is free")
	return nil
}

// Free is the address of such a port, at which nobody listens.
func Free(t testing.TB) string {
	t.Helper()
	l := Listen(t)
	require.NoError(t, l.Close())
	return l.Addr().String()
}
