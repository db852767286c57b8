package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/deploy"
)

// leaseFile is who may write a volume under an epoch, as the store says it.
type leaseFile struct{ Host, State string }

func leasePath(c *cell.Cell, volume string, epoch int) string {
	return filepath.Join(c.Store, "mooring", "volumes", volume, fmt.Sprintf("lease.%d", epoch))
}

func readLease(t *testing.T, volume string, epoch int) leaseFile {
	t.Helper()
	return leaseIn(t, shared, volume, epoch)
}

func leaseIn(t *testing.T, c *cell.Cell, volume string, epoch int) leaseFile {
	t.Helper()
	content, err := os.ReadFile(leasePath(c, volume, epoch))
	require.NoError(t, err)
	var l leaseFile
	require.NoError(t, json.Unmarshal(content, &l))
	return l
}

// A host dies and an operator marks its agent gone in Mesos: its node runs elsewhere, with its documents, and its volumes were
// freed by that word and not by the clock, which would have made the taker the next holder in one step.
func TestStoryAnAgentMarkedGoneFreesItsVolumes(t *testing.T) {
	s := singleNode(t, deploy.Options{Framework: "gone"})
	require.NoError(t, s.host.Kill(within(t)))
	require.NoError(t, s.host.MarkGone(within(t)))
	s.cameBack(t)

	nodes, err := s.Nodes(within(t))
	require.NoError(t, err)
	taker := host(t, nodes[0].Place.Host)
	require.NotEqual(t, s.host.Name, taker.Name)
	for _, volume := range nodes[0].Volumes {
		assert.Equal(t, leaseFile{taker.Name, "released"}, readLease(t, volume, 2), "freed by order")
		assert.Equal(t, leaseFile{taker.Name, "held"}, readLease(t, volume, 3))
	}
	log, err := os.ReadFile(taker.Log("docker"))
	require.NoError(t, err)
	assert.Contains(t, string(log), "host said to be gone")
	assert.Contains(t, string(log), "Mesos says that its agent is gone for good")
}
