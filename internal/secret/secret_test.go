package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/internal/secret"
)

func write(t *testing.T, content string, mode os.FileMode) string {
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	require.NoError(t, os.Chmod(file, mode))
	return file
}

func TestASecretIsWhatTheFileHolds(t *testing.T) {
	for content, want := range map[string]string{"hush": "hush", "hush\n": "hush", " a b \r\n": "a b"} {
		got, err := secret.Read(write(t, content, 0o640))
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	file := write(t, "first", 0o600)
	require.NoError(t, os.WriteFile(file, []byte("second"), 0o600))
	got, err := secret.Read(file)
	require.NoError(t, err)
	assert.Equal(t, "second", got)
}

func TestWhatIsNoSecretIsRefused(t *testing.T) {
	for _, c := range []struct {
		file string
		says string
	}{
		{write(t, "hush", 0o644), "is open to everybody on this machine (-rw-r--r--): chmod 600 "},
		{write(t, "hush", 0o602), "is open to everybody"},
		{write(t, "\n", 0o600), "is empty"},
		{write(t, strings.Repeat("hush", 1<<15), 0o600), "more than 65536 bytes"},
		{"/dev/null", "is no file"},
		{t.TempDir(), "is no file"},
		{"/no/such/file", "no such file"},
	} {
		_, err := secret.Read(c.file)
		require.ErrorContains(t, err, c.says)
		assert.NotContains(t, err.Error(), "hush")
	}
}

func TestPairs(t *testing.T) {
	name, password, err := secret.ReadPair(write(t, "mooring:a:b@c/d\n", 0o600))
	require.NoError(t, err)
	assert.Equal(t, []string{"mooring", "a:b@c/d"}, []string{name, password})
	for _, content := range []string{"hush", ":hush", "hush:", "a:hush\nb:hush"} {
		_, _, err := secret.ReadPair(write(t, content, 0o600))
		require.ErrorContains(t, err, "is not of the form USER:PASSWORD")
		assert.NotContains(t, err.Error(), "hush")
	}
}
