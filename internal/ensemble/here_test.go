package ensemble_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/internal/ensemble"
)

func here(t *testing.T, address string) (string, error) {
	t.Helper()
	a, err := ensemble.Parse(address)
	require.NoError(t, err)
	return a.Here()
}

func TestThisHostsAddressIsThatOnTheWayToTheServers(t *testing.T) {
	_, err := here(t, "zk://me:hush@127.0.0.1:2181,[::1]:2181/mooring")
	require.ErrorContains(t, err, "127.0.0.1:2181 is on this host's loopback")
	assert.NotContains(t, err.Error(), "hush")
	_, err = here(t, "zk://nowhere.invalid/mooring")
	require.ErrorContains(t, err, "nowhere.invalid")

	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, address := range addresses {
		own := address.(*net.IPNet).IP
		if own.IsLoopback() || own.To4() == nil {
			continue
		}
		found, err := here(t, "zk://127.0.0.1:2181,"+own.String()+":2181/mooring")
		require.NoError(t, err, "the next server is tried")
		assert.Equal(t, own.String(), found)
	}
}

func TestAnotherPathOfTheSameEnsemble(t *testing.T) {
	for text, want := range map[string]string{
		"zk://z1:2181,z2/mesos":      "zk://z1:2181,z2/mooring",
		"zk://me:a/mesos@z1/x/mesos": "zk://me:a/mesos@z1/mooring",
	} {
		got, err := ensemble.Beside(text, "/mooring")
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err := ensemble.Beside("zk://z1:2181", "/mooring")
	require.ErrorContains(t, err, `its path "/"`)
}
