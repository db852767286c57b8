package cell_test

import (
	"archive/tar"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring/test/cell"
)

// patience is how long the tests wait for what must come; it says nothing about how fast it is.
const patience = 60 * time.Second

// needRoot skips a test where it cannot run at all.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: simulated hosts need root")
	}
}

// buildStub builds the program of testdata/stub and returns its file.
func buildStub(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stub")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", file, "./testdata/stub")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return file
}

// stubPlugin makes a directory for `docker plugin create` out of the stub.
func stubPlugin(t *testing.T, stub string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "rootfs"), 0o755))
	copyFile(t, stub, filepath.Join(dir, "rootfs", "stub"))
	copyFile(t, "testdata/config.json", filepath.Join(dir, "config.json"))
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, content, 0o755))
}

// importStub makes the image stub:1 in the engine of a host.
func importStub(t *testing.T, h *cell.Host, stub string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stub.tar")
	content, err := os.ReadFile(stub)
	require.NoError(t, err)
	f, err := os.Create(file)
	require.NoError(t, err)
	archive := tar.NewWriter(f)
	require.NoError(t, archive.WriteHeader(&tar.Header{Name: "stub", Mode: 0o755, Size: int64(len(content))}))
	_, err = archive.Write(content)
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	require.NoError(t, f.Close())
	docker(t, h, "import", "--change", `ENTRYPOINT ["/stub"]`, file, "stub:1")
}

func docker(t *testing.T, h *cell.Host, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := h.Docker(ctx, args...)
	require.NoError(t, err)
	return out
}

// fetch asks a page from inside the cell; the answer is "" when there is none within the time.
func fetch(t *testing.T, client *http.Client, url string, within time.Duration) string {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return ""
	}
	response, err := client.Do(request)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return ""
	}
	return string(body)
}

func eventually(t *testing.T, holds func() bool, what string) {
	t.Helper()
	require.Eventually(t, holds, patience, 50*time.Millisecond, what)
}

func readLines(t *testing.T, file string) []string {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}
