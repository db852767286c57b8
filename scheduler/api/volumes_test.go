package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/api"
)

// shelf has leases.
type shelf struct {
	leases map[string]coordinator.Lease
	read   time.Time
	err    error
	asked  []string
}

func (s *shelf) Leases(_ context.Context, volumes []string) (map[string]coordinator.Lease, time.Time, error) {
	s.asked = volumes
	return s.leases, s.read, s.err
}

// volumes are what the API shows of them, in the list of its own and in the status.
func volumes(t *testing.T, f *fake, leases api.Leases) api.VolumeList {
	t.Helper()
	h, err := api.Handler(f, api.Options{Leases: leases})
	require.NoError(t, err)
	ask := func(path string, into any) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		require.Equal(t, 200, w.Code, w.Body)
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), into))
	}
	var list api.VolumeList
	var status api.Status
	ask("/v1/volumes", &list)
	ask("/v1/status", &status)
	assert.Equal(t, list, status.VolumeList)
	return list
}

// threeNodes are one that runs, one that waits and one that never ran.
func threeNodes() *fake {
	f := newFake()
	f.view.State.Nodes[0].Holder, f.view.State.Nodes[0].Sizes = coordinator.Holder{Epoch: 4, Agent: "a1", Host: "h1"}, coordinator.Sizes{Data: 5}
	f.view.State.Nodes[1].Holder = coordinator.Holder{Epoch: 1, Agent: "a2"}
	return f
}

func TestTheVolumesOfANodeMayHaveDifferentHolders(t *testing.T) {
	read := time.Now().UTC()
	s := &shelf{read: read, leases: map[string]coordinator.Lease{
		"es1config": {Host: "h1", Epoch: 7, State: "held"}, "es1data": {Host: "h9", Epoch: 3, State: "unattended", Unguarded: true, Size: 6},
		"es2config": {Epoch: 2, State: "released"}, "es2data": {Error: "unreadable"}, "es3config": {}, "es3data": {},
	}}
	list := volumes(t, threeNodes(), s)
	assert.Equal(t, []string{"es1config", "es1data", "es2config", "es2data", "es3config", "es3data"}, s.asked)
	assert.Equal(t, api.VolumeList{LeasesRead: read, Volumes: []api.Volume{
		{Name: "es1config", Node: 1, Holder: "h1", Epoch: 7, State: "held", Source: "lease"},
		{Name: "es1data", Node: 1, Holder: "h9", Epoch: 3, State: "unattended", Unguarded: true, Size: 6, Source: "lease"},
		{Name: "es2config", Node: 2, Epoch: 2, State: "released", Source: "lease"},
		{Name: "es2data", Node: 2, Holder: "agent a2", State: "last used", Source: "node", Error: "unreadable"},
		{Name: "es3config", Node: 3, Source: "lease"}, {Name: "es3data", Node: 3, Source: "lease"},
	}}, list)
}

func TestWithoutLeasesNodesTellWhoHoldsTheirVolumes(t *testing.T) {
	f := threeNodes()
	f.view.State.Nodes[2].Epoch, f.view.State.Nodes[2].Phase = 1, coordinator.Claimed
	told := []api.Volume{
		{Name: "es1config", Node: 1, Holder: "h1", State: "in use", Source: "node"},
		{Name: "es1data", Node: 1, Holder: "h1", State: "in use", Size: 5, Source: "node"},
		{Name: "es2config", Node: 2, Holder: "agent a2", State: "last used", Source: "node"},
		{Name: "es2data", Node: 2, Holder: "agent a2", State: "last used", Source: "node"},
		{Name: "es3config", Node: 3, Source: "node"}, {Name: "es3data", Node: 3, Source: "node"},
	}
	assert.Equal(t, api.VolumeList{Volumes: told}, volumes(t, f, nil))
	assert.Equal(t, api.VolumeList{Volumes: told, LeasesError: "away"}, volumes(t, f, &shelf{err: errors.New("away")}), "the status does not fail for that")

	f.view.State.Nodes[0].Holder.Gone, f.view.State.Nodes[2].Epoch = true, 0
	list := volumes(t, f, nil)
	assert.Equal(t, []string{"gone", "never used"}, []string{list.Volumes[0].State, list.Volumes[5].State})
}

func TestOldLeasesAreShownAsSuch(t *testing.T) {
	read := time.Now().UTC().Add(-time.Minute)
	list := volumes(t, threeNodes(), &shelf{read: read, err: errors.New("away"), leases: map[string]coordinator.Lease{"es1data": {Host: "h1", Epoch: 3, State: "held"}}})
	assert.Equal(t, []any{read, "away"}, []any{list.LeasesRead, list.LeasesError})
	assert.Equal(t, []string{"node", "lease"}, []string{list.Volumes[0].Source, list.Volumes[1].Source})
}
