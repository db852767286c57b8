package plugin_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin"
)

func TestAVolumesWholeLife(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	h.create("elasticsearch1data")
	at := h.mount("elasticsearch1data", "id1")
	assert.Equal(t, h.mountpoint("elasticsearch1data"), at)
	require.NoError(t, os.WriteFile(filepath.Join(at, "f"), []byte("x"), 0o600))
	assert.FileExists(t, h.file("elasticsearch1data", "f"))
	v := h.get("elasticsearch1data")
	assert.Equal(t, at, v.Mountpoint)
	assert.Equal(t, map[string]any{"backend": "dir", "class": "data", "epoch": uint64(1), "holder": "hostA", "host": "hostA",
		"lastError": "", "lease": v.Status["lease"], "mounts": map[string]int{"id1": 1}, "state": "mounted", "store": "ok", "takeover": "auto"}, v.Status)

	h.unmount("elasticsearch1data", "id1")
	assert.NoDirExists(t, at)
	assert.Equal(t, "released", h.state("elasticsearch1data"))
	require.NoError(t, h.remove("elasticsearch1data"))
	assert.NoFileExists(t, h.file("elasticsearch1data", "f"))
	_, err := h.Get(context.Background(), &api.GetRequest{Name: "elasticsearch1data"})
	assert.EqualError(t, err, "no such volume: elasticsearch1data")
	require.NoError(t, h.remove("elasticsearch1data"), "removing what is gone is success")
}

func TestOwnerByName(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	for name, want := range map[string]struct {
		class          string
		uid, gid, mode uint32
	}{
		"elasticsearch1data":     {"data", 1000, 0, 0o770},
		"es-42config":            {"config", 1000, 0, 0o770},
		"mydata":                 {"default", 0, 0, 0o755},
		"1data2":                 {"default", 0, 0, 0o755},
		strings.Repeat("a0", 32): {"anonymous", 0, 0, 0o755},
	} {
		h.create(name)
		var stat unix.Stat_t
		require.NoError(t, unix.Stat(h.mount(name, "id"), &stat))
		assert.Equal(t, []uint32{want.uid, want.gid, want.mode}, []uint32{stat.Uid, stat.Gid, stat.Mode & 0o7777}, name)
		assert.Equal(t, want.class, h.get(name).Status["class"])
	}
}

func TestOptions(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	create := func(name string, options map[string]string) error {
		return h.Create(context.Background(), &api.CreateRequest{Name: name, Options: options})
	}
	require.NoError(t, create("v", map[string]string{"class": "data", "gid": "44", "mode": "2750"}))
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(h.mount("v", "id"), &stat))
	assert.Equal(t, []uint32{1000, 44, 0o2750}, []uint32{stat.Uid, stat.Gid, stat.Mode & 0o7777})

	require.NoError(t, create("v", nil), "the same volume again")
	require.NoError(t, create("v", map[string]string{"gid": "44"}), "an equal option")
	for _, row := range []struct {
		options map[string]string
		want    string
	}{
		{map[string]string{"sise": "1g"}, `option "sise" is unknown: the options are backend, class, from, fs, gid, mkfs, mode, mount, size, takeover, trash, uid`},
		{map[string]string{"class": "gold"}, `class "gold" is unknown: the classes are anonymous, data, config, default`},
		{map[string]string{"uid": "-1"}, `option uid "-1" is not a number such as 1000`},
		{map[string]string{"uid": "elastic"}, `option uid "elastic" is not a number such as 1000`},
		{map[string]string{"mode": "999"}, `option mode "999" is not an octal number such as 0770`},
		{map[string]string{"uid": "7"}, "volume v exists with uid 1000, not 7: leave the option out or choose another name"},
		{map[string]string{"class": "default"}, "volume v exists with class data, not default: leave the option out or choose another name"},
	} {
		assert.EqualError(t, create("v", row.options), row.want)
	}
}

func TestNames(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/abs", "a b", "a:b", "-a", "a\x00", "é", strings.Repeat("a", 129), strings.Repeat("a", 300)} {
		err := h.Create(context.Background(), &api.CreateRequest{Name: name})
		assert.EqualError(t, err, fmt.Sprintf("volume name %q is not allowed: use a letter or digit, then up to 127 letters, digits, '_', '.' or '-'", name))
		assert.Equal(t, "no such volume: "+name, h.refuseMount(name, "id"))
		assert.NoError(t, h.remove(name))
	}
	list, err := h.List(context.Background(), nil)
	require.NoError(t, err)
	assert.Equal(t, []*api.Volume{}, list.Volumes)
	for _, name := range []string{"a", "A.b_c-9", strings.Repeat("a", 128)} {
		h.create(name)
		h.mount(name, "id")
	}
}

func TestListAndPath(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	h.create("b")
	h.create("a")
	at := h.mount("b", "id")
	list, err := h.List(context.Background(), nil)
	require.NoError(t, err)
	require.Len(t, list.Volumes, 2)
	assert.Equal(t, []string{"a", "", "b", at}, []string{list.Volumes[0].Name, list.Volumes[0].Mountpoint, list.Volumes[1].Name, list.Volumes[1].Mountpoint})
	for name, want := range map[string]string{"a": "", "b": at} {
		path, err := h.Path(context.Background(), &api.PathRequest{Name: name})
		require.NoError(t, err)
		assert.Equal(t, want, path.Mountpoint)
	}
	_, err = h.Path(context.Background(), &api.PathRequest{Name: "c"})
	assert.EqualError(t, err, "no such volume: c")
}

// "docker cp" mounts a running container's volume under the container's own ID, once per API call.
func TestCopyRepeatsAnID(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	h.create("v")
	kill := container(t, h.mount("v", "id1"))
	for range 2 {
		h.mount("v", "id1")
		assert.Equal(t, map[string]int{"id1": 2}, h.mounts("v"))
		h.unmount("v", "id1")
		assert.True(t, h.mounted("v"))
	}
	kill()
	h.unmount("v", "id1")
	assert.False(t, h.mounted("v"))
}

// The engine's calls when two containers use a volume, the image has files at its path (copy-up mounts it
// once more), and one ends before the other.
func TestTwoContainersOneVolume(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	h.create("v")
	h.mount("v", "copy-up")
	h.unmount("v", "copy-up")
	h.mount("v", "id1")
	h.mount("v", "id2")
	h.unmount("v", "id1")
	assert.True(t, h.mounted("v"))
	h.unmount("v", "id1")
	h.unmount("v", "never seen")
	assert.Equal(t, map[string]int{"id2": 1}, h.mounts("v"), "an unknown ID gives nothing back")
	h.unmount("v", "id2")
	assert.False(t, h.mounted("v"))
	h.unmount("v", "id2")
	h.unmount("nosuch", "id2")
}

func TestRemoveGoesByTheKernelNotByIDs(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	h.create("v")
	kill := container(t, h.mount("v", "id1"))
	require.ErrorContains(t, h.remove("v"), "volume v is in use by process")
	h.unmount("v", "id1")
	assert.Equal(t, "draining", h.state("v"))
	assert.True(t, h.mounted("v"), "a container still has it")
	require.ErrorContains(t, h.remove("v"), "volume v is in use by process", "also when the engine has forgotten it")
	require.FileExists(t, h.file("v", "../volume.json"))
	kill()
	h.mount("v", "an ID whose Unmount is lost")
	require.NoError(t, h.remove("v"))
	assert.NoDirExists(t, h.mountpoint("v"))
}

func TestALostMountIsMountedAgain(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	h.create("v")
	h.mount("v", "id1")
	unmountAll(t, h.cfg.MountRoot)
	at := h.mount("v", "id1")
	require.NoError(t, os.WriteFile(filepath.Join(at, "f"), nil, 0o600))
	assert.FileExists(t, h.file("v", "f"), "not on the host's own disk")
}

func TestAFullStore(t *testing.T) {
	dir := tmpfs(t, "size=128k,nr_inodes=40")
	h := start(t, configure(t, "hostA", dir))
	h.create("v")
	fill(t, dir)
	err := h.Create(context.Background(), &api.CreateRequest{Name: "w"})
	require.ErrorContains(t, err, "create volume w")
	require.ErrorIs(t, err, unix.ENOSPC)
	assert.NoDirExists(t, filepath.Join(dir, "mooring/volumes/w"))
	_, err = h.Get(context.Background(), &api.GetRequest{Name: "w"})
	assert.Error(t, err, "nothing half-made is known")
	assert.Contains(t, h.refuseMount("v", "id"), "no space left on device: free space and inodes there (df, df -i)")
	assert.False(t, h.mounted("v"))
	assert.Contains(t, h.get("v").Status["lastError"], "no space left on device")

	require.NoError(t, os.RemoveAll(filepath.Join(dir, "filler")))
	h.create("w")
	h.mount("w", "id")
	h.mount("v", "id")
	assert.Empty(t, h.get("v").Status["lastError"])
}

func TestAReadOnlyStore(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	h := start(t, configure(t, "hostA", dir))
	h.create("v")
	require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	err := h.Create(context.Background(), &api.CreateRequest{Name: "w"})
	require.ErrorIs(t, err, unix.EROFS)
	assert.Contains(t, h.refuseMount("v", "id"), "store "+dir+": read-only file system: mount it read-write")
	assert.Contains(t, h.get("v").Status["store"], "mount it read-write")
	require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT, ""))
	h.create("w")
	h.mount("v", "id")
}

func TestAMissingOrSwappedStore(t *testing.T) {
	dir := t.TempDir()
	h := start(t, configure(t, "hostA", dir))
	h.create("v")
	h.mount("v", "id")
	h.unmount("v", "id")
	uuid := readFile(t, filepath.Join(dir, "mooring/store.json"))

	cover(t, dir) // as if the right file system had not been mounted
	for _, message := range []string{h.refuseMount("v", "id"), h.remove("v").Error(),
		h.Create(context.Background(), &api.CreateRequest{Name: "w"}).Error()} {
		assert.Contains(t, message, "store "+dir+" is missing")
		assert.Contains(t, uuid, strings.Split(strings.Split(message, "should hold UUID ")[1], ";")[0])
	}
	h = h.restart() // also after a restart: memory answers, storage verbs refuse
	assert.Contains(t, h.refuseMount("v", "id"), "is missing")
	assert.Contains(t, h.get("v").Status["store"], "is missing")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries, "nothing is made in the wrong place")

	other := start(t, configure(t, "hostB", dir)) // another store comes to be there
	other.create("v")
	assert.Contains(t, h.refuseMount("v", "id"), "is another one")
	other.crash()
	require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH))
	h.mount("v", "id")
}

func TestAUsedVolumeWithoutFilesIsRefused(t *testing.T) {
	dir := t.TempDir()
	h := start(t, configure(t, "hostA", dir))
	for _, name := range []string{"gone", "half", "fresh"} {
		h.create(name)
	}
	for _, name := range []string{"gone", "half"} {
		h.mount(name, "id")
		h.unmount(name, "id")
	}
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "mooring/volumes/gone")))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "mooring/volumes/half/data")))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "mooring/volumes/fresh")))
	assert.Contains(t, h.refuseMount("gone", "id"), "volume gone holds data but its files are gone from store "+dir)
	assert.NoDirExists(t, filepath.Join(dir, "mooring/volumes/gone"))
	assert.Contains(t, h.refuseMount("half", "id"), "files are gone")
	assert.NoDirExists(t, h.file("half", ""))
	h.mount("fresh", "id") // a power cut may take what was made but never used
	require.NoError(t, h.remove("gone"))
}

func TestManyVolumesAtOnce(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			name, ctx := fmt.Sprintf("v%d", i), context.Background()
			assert.NoError(t, h.Create(ctx, &api.CreateRequest{Name: name}))
			_, err := h.Mount(ctx, &api.MountRequest{Name: name, ID: "id"})
			assert.NoError(t, err)
			assert.NoError(t, h.Unmount(ctx, &api.UnmountRequest{Name: name, ID: "id"}))
			assert.NoError(t, h.remove(name))
		})
	}
	all.Wait()
	list, err := h.List(context.Background(), nil)
	require.NoError(t, err)
	assert.Empty(t, list.Volumes)
}

func TestManyCallsOnOneVolume(t *testing.T) {
	h := start(t, configure(t, "hostA", t.TempDir()))
	h.create("v")
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			ctx, id := context.Background(), fmt.Sprint("id", i%4)
			_, err := h.Mount(ctx, &api.MountRequest{Name: "v", ID: id})
			assert.NoError(t, err)
			assert.NoError(t, h.Unmount(ctx, &api.UnmountRequest{Name: "v", ID: id}))
		})
	}
	all.Wait()
	assert.Equal(t, "released", h.state("v"))
	assert.Empty(t, h.mounts("v"))
}

func TestBadConfigurations(t *testing.T) {
	good := plugin.Config{StoreDir: "/s", StateDir: "/t", MountRoot: "/m"}
	for want, change := range map[string]func(*plugin.Config){
		`store directory "s" is not an absolute path such as /var/lib`:                                 func(c *plugin.Config) { c.StoreDir = "s" },
		`state directory "" is not an absolute path such as /var/lib`:                                  func(c *plugin.Config) { c.StateDir = "" },
		`mount root "./m" is not an absolute path such as /var/lib`:                                    func(c *plugin.Config) { c.MountRoot = "./m" },
		`classes file "c.yaml" is not an absolute path such as /etc/mooring/classes.yaml`:              func(c *plugin.Config) { c.ClassesFile = "c.yaml" },
		`SHARED "maybe" is not one of auto, true, false`:                                               func(c *plugin.Config) { c.Shared = "maybe" },
		`HOST "a/b" is not a name: a letter or digit, then up to 127 letters, digits, '_', '.' or '-'`: func(c *plugin.Config) { c.Host = "a/b" },
	} {
		cfg := good
		change(&cfg)
		_, err := plugin.Open(cfg)
		assert.EqualError(t, err, want)
	}
}

// tmpfs is a small file system.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: mounting a small tmpfs takes root")
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, options))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// cover hides a directory behind an empty file system.
func cover(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}

// fill uses up all bytes and all inodes.
func fill(t *testing.T, dir string) {
	t.Helper()
	filler := filepath.Join(dir, "filler")
	require.NoError(t, os.Mkdir(filler, 0o700))
	require.ErrorIs(t, os.WriteFile(filepath.Join(filler, "big"), make([]byte, 1<<20), 0o600), unix.ENOSPC)
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(filler, fmt.Sprint(i)), nil, 0o600); err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			return
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}
