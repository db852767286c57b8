package mesos_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/internal/ensemble"
	"mooring/scheduler/store"
	"mooring/test/faultfs"
	"mooring/test/zookeeper"
)

// keeping is where a scheduler keeps its state, with something in between that can stop a save.
type keeping interface {
	flags() []string                      // of a scheduler whose saves can be stopped
	within() []string                     // a command before that scheduler's own
	direct() []string                     // flags of one whose saves cannot be stopped
	stop()                                // the next save of a node does not get through, and does not end
	stopped() bool                        // it is under way
	state(t *testing.T) coordinator.State // while no scheduler runs, or in ZooKeeper at any time
}

// inFile is a file of a file system that holds a write. Nobody else sees that file system: who does would keep it from ending.
type inFile struct {
	t       *testing.T
	dir, at string
	files   *daemon
	socket  string
}

func newInFile(t *testing.T, faultfs string) *inFile {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("NOT TESTED: this kernel has no FUSE:", err)
	}
	sockets, err := os.MkdirTemp("", "mooring") // a socket's name must be short
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(sockets)) })
	k := &inFile{t: t, dir: t.TempDir(), at: t.TempDir(), socket: filepath.Join(sockets, "socket")}
	k.files = newDaemon(t, "faultfs", "unshare", "--mount", "--propagation=private", faultfs, "mount", k.dir, k.at, "--socket="+k.socket)
	k.files.start()
	eventually(t, "a file system", func() error {
		_, err := os.Stat(k.socket)
		return err
	})
	return k
}

const stateFile = "state.db"

var aWrite = faultfs.Hold{Operation: faultfs.Write, Path: stateFile}

func (k *inFile) flags() []string { return []string{"--state-dir=" + k.at} }

func (k *inFile) within() []string {
	return []string{"nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", k.files.cmd.Process.Pid)}
}

func (k *inFile) direct() []string { return []string{"--state-dir=" + k.dir} }

func (k *inFile) stop() { assert.NoError(k.t, faultfs.Keep(k.t.Context(), k.socket, aWrite)) }

func (k *inFile) stopped() bool {
	err := faultfs.Kept(k.t.Context(), k.socket, aWrite)
	if errors.Is(err, faultfs.ErrWaiting) {
		return false
	}
	require.NoError(k.t, err)
	return true
}

func (k *inFile) state(t *testing.T) coordinator.State {
	t.Helper()
	file, err := store.Open(filepath.Join(k.dir, stateFile), coordinator.NewState("es", 2))
	require.NoError(t, err)
	defer file.Close()
	state, err := file.Load(t.Context())
	require.NoError(t, err)
	return state
}

// inZooKeeper is there, beyond a proxy.
type inZooKeeper struct {
	server *zookeeper.Server
	path   string
	link   *zookeeper.Proxy

	mu   sync.Mutex
	seen bool // the save that was to be stopped
}

func newInZooKeeper(t *testing.T, server *zookeeper.Server, path string) *inZooKeeper {
	t.Helper()
	return &inZooKeeper{server: server, path: path, link: zookeeper.NewProxy(t, server)}
}

func (k *inZooKeeper) at(address string) string { return "zk://mooring:secret@" + address + k.path }
func (k *inZooKeeper) flags() []string          { return []string{"--zookeeper=" + k.at(k.link.Address)} }
func (k *inZooKeeper) within() []string         { return nil }
func (k *inZooKeeper) direct() []string         { return []string{"--zookeeper=" + k.at(k.server.Address)} }
func (k *inZooKeeper) stop()                    { k.atSave(k.link.Cut) }

// silence has the next save of a node carried out, without an answer.
func (k *inZooKeeper) silence() { k.atSave(k.link.Mute) }

func (k *inZooKeeper) atSave(do func()) {
	k.link.At(func(request []byte) {
		if !zookeeper.Writes(request) || !bytes.Contains(request, []byte("/es/nodes/")) {
			return
		}
		do()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.seen = true
	})
}

func (k *inZooKeeper) stopped() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen
}

func (k *inZooKeeper) state(t *testing.T) coordinator.State {
	t.Helper()
	address, err := ensemble.Parse(k.at(k.server.Address))
	require.NoError(t, err)
	conn := ensemble.New(address, ensemble.Options{Answer: patience})
	defer conn.Close()
	kept, err := store.OpenZooKeeper(conn, coordinator.NewState("es", 2)) // it is there
	require.NoError(t, err)
	state, err := kept.Load(t.Context())
	require.NoError(t, err)
	return state
}
