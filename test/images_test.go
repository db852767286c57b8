package test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/deploy"
	"mooring/test/soak"
)

// imagesDir is where the cell of these stories is made.
var imagesDir = cellDir + "-images"

// imageCell is a cell whose store can clone files, brought up by the first story that wants it. Its first host reaches the
// store through a file system that fails on demand, and cannot clone.
func imageCell(t *testing.T) *cell.Cell {
	t.Helper()
	c, err := makeImageCell(faultfsProgram(t))
	require.NoError(t, err)
	return c
}

var imageCellOnce struct {
	sync.Once
	cell *cell.Cell
	err  error
}

func makeImageCell(faultfs string) (*cell.Cell, error) {
	one := &imageCellOnce
	one.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), storyLimit)
		defer cancel()
		if one.err = cell.Down(ctx, imagesDir); one.err != nil { // what an interrupted run left
			return
		}
		one.cell, one.err = cell.Up(ctx, imagesDir, cell.Options{
			Hosts: 4, Plugin: "../build/plugin", Fast: true, StoreFS: "xfs", Faults: faultfs, Faulty: 1,
			Images: []string{filepath.Join(cacheDir, "elasticsearch-8.19.5.tar")},
		})
	})
	return one.cell, one.err
}

// soaked starts a cluster whose volumes are images, and writes to it until the story ends.
func soaked(t *testing.T, framework string) *soak.Soak {
	t.Helper()
	c := imageCell(t)
	d := deployedIn(t, c, deploy.Options{
		Framework: framework, Image: elasticsearch8, Nodes: soak.Nodes,
	})
	s, err := soak.Begin(within(t), soak.Options{Cell: c, Deployment: d, Say: t.Logf})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.End())
		if t.Failed() {
			require.NoError(t, cell.KeepLogs(c.Dir, filepath.Join("../build", framework+"-logs")))
		}
	})
	return s
}

// Three nodes on image volumes are written to, also into an index that has no second copy. A host dies; another one freezes for
// longer than the others wait and goes on; a third one lives but reaches nothing any more, so its guard ends its node. Each
// time the node comes back elsewhere with every document that was acknowledged, and the old one does not run beside it.
func TestStoryElasticsearchOnImagesSurvivesItsHosts(t *testing.T) {
	s := soaked(t, "images")
	nodes, err := s.Deployment.Nodes(within(t))
	require.NoError(t, err)
	for _, n := range nodes {
		backends, err := s.Deployment.Backends(within(t), n)
		require.NoError(t, err)
		require.Equal(t, []string{"dir", "image"}, backends, "of %s", n.Volumes)
	}
	for _, fault := range []soak.Fault{soak.KillHost, soak.FreezeHost, soak.CutHost} {
		t.Run(strings.ReplaceAll(fault.Name, " ", "_"), func(t *testing.T) {
			round, err := s.Under(within(t), fault)
			require.NoError(t, err)
			require.NoError(t, s.Play(t.Context(), round))
		})
		if t.Failed() {
			return
		}
	}
}

// Random faults, from a fixed seed, in a few rounds; `make soak` plays many. After each every document is there that was ever
// acknowledged.
func TestStorySoak(t *testing.T) {
	const rounds, seed = 3, 10
	s, deck := soaked(t, "soak"), soak.NewDeck(seed)
	for range rounds {
		round, err := s.Round(within(t), deck)
		require.NoError(t, err)
		require.NoError(t, s.Play(t.Context(), round))
	}
}
