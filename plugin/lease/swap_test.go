package lease

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// While one host is about to change a lease, another one removes the volume and makes it again: nothing of
// the change gets into the new volume's directory.
func TestAChangeStaysInTheDirectoryItBeganIn(t *testing.T) {
	for name, trashEmptied := range map[string]bool{"in the trash": false, "deleted": true} {
		t.Run(name, func(t *testing.T) {
			f := Files{Volumes: t.TempDir()}
			path := filepath.Join(f.Volumes, "v")
			remake := func(dir *os.Root) {
				require.NoError(t, os.Rename(path, path+".trash"))
				require.NoError(t, os.Mkdir(path, 0o700))
				if trashEmptied {
					require.NoError(t, os.RemoveAll(path+".trash/lease.1"))
				}
			}
			require.NoError(t, os.Mkdir(path, 0o700))
			next := Lease{}.Next("v", Identity{Host: "late"}).Stamped()
			err := f.change("v", func(dir *os.Root) error {
				remake(dir)
				return create(dir, Lease{}, next)
			})
			require.ErrorIs(t, err, ErrTaken)
			require.NoError(t, os.RemoveAll(path+".trash"))

			held, err := f.Create(Lease{}, next)
			require.NoError(t, err)
			released := held
			released.State = Released
			err = f.change("v", func(dir *os.Root) error {
				remake(dir)
				return rewrite(dir, held, released)
			})
			require.ErrorIs(t, err, ErrTaken)
			entries, err := os.ReadDir(path)
			require.NoError(t, err)
			assert.Empty(t, entries)
		})
	}
}
