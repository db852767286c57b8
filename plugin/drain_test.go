package plugin_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// held names the volumes that an answer to a drain lists.
func (h *host) held() []string {
	h.t.Helper()
	answer, err := h.Drain()
	require.NoError(h.t, err)
	assert.False(h.t, answer.Since.IsZero())
	names := []string{}
	for _, v := range answer.Held {
		names = append(names, v.Name)
	}
	return names
}

func TestADrainedHostAcceptsNoNewMounts(t *testing.T) {
	dir := t.TempDir()
	h := start(t, configure(t, "hostA", dir))
	h.create("v")
	h.create("w")
	kill := container(t, h.mount("v", "id1"))
	assert.Equal(t, []string{"v"}, h.held())
	since := h.Survey().Drained
	refused := "host hostA is drained since " + since.Format("2006-01-02T15:04:05Z") + " and accepts no new mounts: start the container on another host, or `mooring volumes drain --undo` here"
	assert.Equal(t, "mount volume w: "+refused, h.refuseMount("w", "id2"))
	assert.Equal(t, "mount volume v: "+refused, h.refuseMount("v", "id3"), "another container is a new mount, too")

	h = h.restart()
	assert.Equal(t, since, h.Survey().Drained, "the host stays drained")
	assert.Equal(t, "mount volume w: "+refused, h.refuseMount("w", "id2"))
	h.mount("v", "id1") // "docker cp" with the container that runs
	h.unmount("v", "id1")
	assert.True(t, h.mounted("v"))
	found, err := h.Diagnose(context.Background())
	require.NoError(t, err)
	assert.Contains(t, kinds(found), "host-drained")
	assert.NoError(t, h.Health(), "it does what it shall")
	assert.True(t, h.Counts().Drained)

	other := configure(t, "hostB", dir)
	other.BootID = "boot-2"
	b := start(t, other)
	b.create("w")
	b.mount("w", "id4")
	b.unmount("w", "id4")

	kill()
	h.unmount("v", "id1")
	assert.Empty(t, h.held())
	answer, err := h.Undrain()
	require.NoError(t, err)
	assert.True(t, answer.Since.IsZero())
	h.mount("w", "id2")
	h = h.restart()
	assert.False(t, h.Counts().Drained)
}
