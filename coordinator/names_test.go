package coordinator_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
)

// The seed's numbering broke at the borders of its bit mask: 31, 32, 33, and at 0.
var someIDs = []coordinator.NodeID{1, 2, 31, 32, 33, 63, 64, 65, 1000, 10000}

func TestNamesComeBackApart(t *testing.T) {
	for _, framework := range []string{"e", "elasticsearch", "es1b", "a-b_c.d", strings.Repeat("x", 40)} {
		require.NoError(t, coordinator.CheckFramework(framework))
		for _, id := range someIDs {
			for _, kind := range []coordinator.Kind{coordinator.Config, coordinator.Data} {
				gotFramework, gotID, gotKind, ok := coordinator.ParseVolumeName(coordinator.VolumeName(framework, id, kind))
				require.True(t, ok)
				assert.Equal(t, []any{framework, id, kind}, []any{gotFramework, gotID, gotKind})
			}
			gotID, gotEpoch, ok := coordinator.ParseTaskID(framework, coordinator.TaskID(framework, id, 7))
			require.True(t, ok)
			assert.Equal(t, []any{id, uint64(7)}, []any{gotID, gotEpoch})
		}
	}
}

func TestFrameworkNamesThatAreRefused(t *testing.T) {
	for name, says := range map[string]string{
		"":                      `framework name "": use a lower-case letter`,
		"es1":                   `framework name "es1" ends in a digit`,
		"Es":                    `framework name "Es": use a lower-case letter`,
		"1es":                   `framework name "1es": use a lower-case letter`,
		"e/s":                   `framework name "e/s": use a lower-case letter`,
		"e s":                   `framework name "e s": use a lower-case letter`,
		strings.Repeat("x", 41): "has 41 characters: use at most 40",
	} {
		assert.ErrorContains(t, coordinator.CheckFramework(name), says)
	}
}

func TestForeignNamesAreNotOurs(t *testing.T) {
	for _, name := range []string{"", "data", "1data", "esdata", "es0data", "es01data", "es1", "es1logs", "es1data2", "../es1data", "es1data\n", strings.Repeat("0", 64)} {
		_, _, _, ok := coordinator.ParseVolumeName(name)
		assert.False(t, ok, name)
	}
	for _, task := range []string{"", "es", "es-1", "es-1-", "es-0-1", "es-1-0", "es-01-1", "fs-1-1", "es-1-1-1", "es-1-99999999999999999999"} {
		_, _, ok := coordinator.ParseTaskID("es", task)
		assert.False(t, ok, task)
	}
}

func FuzzAVolumeNameBelongsToOneNode(f *testing.F) {
	f.Add("es2", 10)
	f.Add("elasticsearch", 1)
	f.Fuzz(func(t *testing.T, framework string, id int) {
		if coordinator.CheckFramework(framework) != nil || id < 1 {
			return
		}
		gotFramework, gotID, _, ok := coordinator.ParseVolumeName(coordinator.VolumeName(framework, coordinator.NodeID(id), coordinator.Data))
		require.True(t, ok)
		require.Equal(t, framework, gotFramework)
		require.EqualValues(t, id, gotID)
	})
}

func FuzzNoParserPanics(f *testing.F) {
	f.Add("es-1-1")
	f.Add("es1data")
	f.Fuzz(func(t *testing.T, name string) {
		if framework, id, kind, ok := coordinator.ParseVolumeName(name); ok {
			require.Equal(t, name, coordinator.VolumeName(framework, id, kind))
		}
		if id, epoch, ok := coordinator.ParseTaskID("es", name); ok {
			require.Equal(t, name, coordinator.TaskID("es", id, epoch))
		}
	})
}

func TestAddress(t *testing.T) {
	assert.Equal(t, "127.0.1.1:9300", coordinator.Address("127.0.1.1", 9300))
	assert.Equal(t, "[::1]:9300", coordinator.Address("::1", 9300))
}
