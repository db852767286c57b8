package runtimetest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	engineUp  = time.Minute
	engineEnd = 30 * time.Second
	inside    = "MOORING_TEST_OWN_NETWORK"
)

// EmptyImage holds nothing but a directory; what runs in its containers is mounted.
const EmptyImage = "mooring-test-empty:1"

// InOwnNetwork runs the present test once more in a network namespace of its own, and says whether this is that run; the
// first one has nothing left to do. A Docker Engine without a bridge would take the bridge of the machine's own Engine away.
func InOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	for _, program := range []string{"dockerd", "unshare", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT TESTED: a private Docker Engine needs %s", program)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: a private Docker Engine needs root")
	}
	again := exec.Command("unshare", "--net", "sh", "-c", `ip link set lo up && exec "$0" "$@"`,
		os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	again.Env = append(os.Environ(), inside+"=1")
	output, err := again.CombinedOutput()
	t.Log("\n" + string(output))
	require.NoError(t, err)
	if bytes.Contains(output, []byte("--- SKIP: ")) {
		t.Skip("NOT TESTED: see above")
	}
	return false
}

// StartEngine starts a Docker Engine of its own and returns its host. Everything of it is gone after the test.
func StartEngine(t *testing.T) (host string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mooring-engine-") // a short path: sockets have at most 107 characters
	require.NoError(t, err)
	host = "unix://" + dir + "/docker.sock"
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	engine := exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "-H", host,
		"--bridge=none", "--iptables=false", "--ip-masq=false", "--ip-forward=false")
	engine.Stdout, engine.Stderr = log, log
	engine.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, engine.Start())
	t.Cleanup(func() { endEngine(t, engine, dir) })

	c := Connect(t, host)
	require.Eventually(t, func() bool { _, err := c.Ping(t.Context(), client.PingOptions{}); return err == nil },
		engineUp, 50*time.Millisecond, "see %s", log.Name())
	return host
}

func endEngine(t *testing.T, engine *exec.Cmd, dir string) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- engine.Wait() }()
	require.NoError(t, engine.Process.Signal(syscall.SIGTERM))
	select {
	case <-ended:
	case <-time.After(engineEnd):
		require.NoError(t, syscall.Kill(-engine.Process.Pid, syscall.SIGKILL))
		<-ended
	}
	for _, mounted := range []string{"data", "exec/netns/default"} {
		err := unix.Unmount(filepath.Join(dir, mounted), unix.MNT_DETACH)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
	}
	require.NoError(t, os.RemoveAll(dir))
}

// Connect returns a client of an Engine.
func Connect(t *testing.T, host string) *client.Client {
	t.Helper()
	c, err := client.New(client.WithHost(host))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// ImportEmpty gives an Engine the image that is empty.
func ImportEmpty(t *testing.T, host string) {
	t.Helper()
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}))
	require.NoError(t, w.Close())
	result, err := Connect(t, host).ImageImport(t.Context(), client.ImageImportSource{Source: &content, SourceName: "-"}, EmptyImage, client.ImageImportOptions{})
	require.NoError(t, err)
	drain(t, result)
}

// LoadImage gives an Engine the images of a tar file.
func LoadImage(t *testing.T, host, path string) {
	t.Helper()
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("NOT TESTED: no image at %s", path)
	}
	require.NoError(t, err)
	result, err := Connect(t, host).ImageLoad(t.Context(), file) // closes the file
	require.NoError(t, err)
	drain(t, result)
}

func drain(t *testing.T, answer interface {
	Read([]byte) (int, error)
	Close() error
}) {
	t.Helper()
	var all bytes.Buffer
	_, err := all.ReadFrom(answer)
	require.NoError(t, err)
	require.NoError(t, answer.Close())
}

// Build builds a package into a static program and returns its path.
func Build(t *testing.T, pkg string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), filepath.Base(pkg))
	build := exec.Command("go", "build", "-o", path, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))
	return path
}
