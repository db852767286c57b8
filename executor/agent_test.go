package executor

import (
	"net"
	"net/http"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/mesos/mesos-go/api/v1/lib/executor/config"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// An agent's heartbeats are half an hour apart: that it is away must show in TCP, within a minute.
func TestADeadConnectionToTheAgentIsNoticedByTheKernel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	a := newAgent(config.Config{}, "", hclog.NewNullLogger())
	conn, err := a.http.Transport.(*http.Transport).DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	got := map[int]int{}
	require.NoError(t, raw.Control(func(fd uintptr) {
		for _, o := range []struct{ level, name int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.SOL_TCP, unix.TCP_KEEPIDLE}, {unix.SOL_TCP, unix.TCP_KEEPINTVL}, {unix.SOL_TCP, unix.TCP_KEEPCNT},
		} {
			value, err := unix.GetsockoptInt(int(fd), o.level, o.name)
			assert.NoError(t, err)
			got[o.name] = value
		}
	}))
	assert.Equal(t, 1, got[unix.SO_KEEPALIVE])
	assert.LessOrEqual(t, got[unix.TCP_KEEPIDLE]+got[unix.TCP_KEEPINTVL]*got[unix.TCP_KEEPCNT], 60)
	assert.Positive(t, got[unix.TCP_KEEPINTVL]*got[unix.TCP_KEEPCNT])
}
