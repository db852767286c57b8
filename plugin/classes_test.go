package plugin_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	api "github.com/docker/go-plugins-helpers/volume"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin"
)

// withClasses is a host with a classes file, which it looks at often.
func withClasses(t *testing.T, text string) plugin.Config {
	cfg := configure(t, "hostA", t.TempDir())
	cfg.ClassesFile, cfg.Heartbeat = filepath.Join(t.TempDir(), "classes.yaml"), 5*time.Millisecond
	if text != "" {
		writeClasses(t, cfg, text)
	}
	return cfg
}

// writeClasses puts a file in the place of the one from before: while one is written, the host might read half of it.
func writeClasses(t *testing.T, cfg plugin.Config, text string) {
	t.Helper()
	draft := cfg.ClassesFile + ".draft"
	require.NoError(t, os.WriteFile(draft, []byte(text), 0o600))
	require.NoError(t, os.Rename(draft, cfg.ClassesFile))
}

// class makes a volume and returns what its class is.
func (h *host) class(name string) any {
	h.t.Helper()
	h.create(name)
	return h.get(name).Status["class"]
}

// awaitClass makes volumes of names that end alike until one is of a class.
func (h *host) awaitClass(suffix, want string) {
	h.t.Helper()
	tries := 0
	require.Eventually(h.t, func() bool {
		tries++
		return h.class(fmt.Sprint("v", tries, suffix)) == want
	}, patience, 10*time.Millisecond)
}

// awaitClasses waits for what the status of a volume says of the classes file; nil is nothing.
func (h *host) awaitClasses(name string, wants func(status any) bool) {
	h.t.Helper()
	require.Eventually(h.t, func() bool { return wants(h.get(name).Status["classes"]) }, patience, 5*time.Millisecond, h.get(name).Status)
}

const hotClass = "classes:\n- {name: hot, match: hot*, uid: 7, gid: 8, mode: 0711, takeover: manual}\n"

func TestTheClassesFileComesBeforeTheBuiltInClasses(t *testing.T) {
	h := start(t, withClasses(t, hotClass))
	assert.Equal(t, "hot", h.class("hot1data"))
	assert.Equal(t, "data", h.class("other1data"))
	at := h.mount("hot1data", "id")
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(at, &stat))
	assert.Equal(t, []uint32{7, 8, 0o711}, []uint32{stat.Uid, stat.Gid, stat.Mode & 0o7777})
	assert.NotContains(t, h.get("hot1data").Status, "classes", "all is well")
	assert.Equal(t, "manual", h.get("hot1data").Status["takeover"])
	require.NoError(t, h.Create(context.Background(), &api.CreateRequest{Name: "chosen", Options: map[string]string{"class": "hot"}}))
	assert.Equal(t, "hot", h.get("chosen").Status["class"])
}

func TestAChangedClassesFileIsTakenUpWithoutARestart(t *testing.T) {
	h := start(t, withClasses(t, ""))
	assert.Equal(t, "default", h.class("first"))
	writeClasses(t, h.cfg, hotClass)
	require.Eventually(t, func() bool {
		h.create("hot")
		made := h.get("hot").Status["class"] == "hot"
		if !made {
			require.NoError(t, h.remove("hot"))
		}
		return made
	}, patience, 5*time.Millisecond)
	writeClasses(t, h.cfg, "classes:\n- {name: cold, match: '*'}\n")
	h.awaitClass("hot", "cold")
	assert.Equal(t, "hot", h.get("hot").Status["class"], "an existing volume keeps what it has")
	h.create("hot")
}

func TestAClassesFileWithMistakesChangesNothing(t *testing.T) {
	h := start(t, withClasses(t, hotClass))
	assert.Equal(t, "hot", h.class("hot1"))
	writeClasses(t, h.cfg, "classes:\n- {name: cold, match: '*', size: 7}\n- {name: cold, fs: zfs}\n")
	refused := "the classes from before stay in force: classes file " + h.cfg.ClassesFile + ` is refused: line 2: size "7" is not a number with a unit ` +
		`such as 512m, 10g or 1t; line 2: size takes an image, and volumes of class cold would be directories: add backend: image or auto, or leave size out; ` +
		`line 3: file system "zfs" is unknown: use ext4 or xfs; line 3: a class without match: it needs name and match; ` +
		"line 3: fs takes an image, and volumes of class cold would be directories: add backend: image or auto, or leave fs out; line 3: class cold was there before, in line 2: choose another name"
	h.awaitClasses("hot1", func(status any) bool { return status == refused })
	assert.Equal(t, "hot", h.class("hot2"))
	assert.Equal(t, refused, h.Survey().Classes)
	found, err := h.Diagnose(context.Background())
	require.NoError(t, err)
	require.NotEmpty(t, found)
	assert.Equal(t, "classes-refused", string(found[0].Kind))
	assert.Equal(t, refused, found[0].What)

	h = h.restart()
	assert.Equal(t, "hot", h.class("hot3"), "also over a restart")
	writeClasses(t, h.cfg, hotClass)
	h.awaitClasses("hot1", func(status any) bool { return status == nil })
}

func TestAClassesFileThatIsGoneChangesNothing(t *testing.T) {
	h := start(t, withClasses(t, hotClass))
	assert.Equal(t, "hot", h.class("hot1"))
	require.NoError(t, os.Remove(h.cfg.ClassesFile))
	h.awaitClasses("hot1", func(status any) bool { return status != nil })
	assert.Contains(t, h.get("hot1").Status["classes"], h.cfg.ClassesFile+" is gone: put it back, or an empty file in its place")
	h = h.restart()
	assert.Equal(t, "hot", h.class("hot2"))
	writeClasses(t, h.cfg, "")
	h.awaitClass("hot", "default")
	h.awaitClasses("hot1", func(status any) bool { return status == nil })
	require.NoError(t, os.Remove(h.cfg.ClassesFile))
	h = h.restart()
	assert.Equal(t, "default", h.class("plain"), "no file is as good as an empty one")
	assert.NotContains(t, h.get("plain").Status, "classes")
}

// A volume's class is for good, so none is guessed.
func TestNoVolumeIsMadeBeforeItsClassIsKnown(t *testing.T) {
	h := start(t, withClasses(t, "classes: [}\n"))
	err := h.Create(context.Background(), &api.CreateRequest{Name: "v"})
	require.ErrorContains(t, err, "create volume v: no volume is made before its class is known: classes file "+h.cfg.ClassesFile+" is refused: not YAML: ")
	writeClasses(t, h.cfg, hotClass)
	require.Eventually(t, func() bool { return h.Create(context.Background(), &api.CreateRequest{Name: "hot"}) == nil }, patience, 5*time.Millisecond)
	assert.Equal(t, "hot", h.get("hot").Status["class"])
}

func TestWhatIsNoClassesFile(t *testing.T) {
	for want, make := range map[string]func(path string) error{
		"is not a regular file":         func(path string) error { return os.Mkdir(path, 0o700) },
		"is larger than 1048576 bytes":  func(path string) error { return os.WriteFile(path, make([]byte, 2<<20), 0o600) },
		"too many levels of symbolic":   func(path string) error { return os.Symlink(path, path) },
		"is refused: not YAML: invalid": func(path string) error { return os.WriteFile(path, []byte{0xff}, 0o600) },
		"regular file":                  func(path string) error { return unix.Mkfifo(path, 0o600) },
	} {
		cfg := withClasses(t, "")
		require.NoError(t, make(cfg.ClassesFile))
		h := start(t, cfg)
		assert.ErrorContains(t, h.Create(context.Background(), &api.CreateRequest{Name: "v"}), want)
	}
}
