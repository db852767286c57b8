package ensemble_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/internal/ensemble"
)

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"zk://a/mooring":                        "zk://a:2181/mooring",
		"zk://a:1,b,10.0.0.1:3/x/y":             "zk://a:1,b:2181,10.0.0.1:3/x/y",
		"zk://user:pass@a/mooring":              "zk://a:2181/mooring",
		"zk://user:p@ss:w/ord@a:2181,b/mooring": "zk://a:2181,b:2181/mooring",
		"zk://[::1]:2181/mooring":               "zk://[::1]:2181/mooring",
	} {
		a, err := ensemble.Parse(text)
		require.NoError(t, err, text)
		for _, shown := range []string{a.String(), fmt.Sprint(a), fmt.Sprintf("%+v %#v", a, a)} {
			assert.Contains(t, shown, want)
			assert.NotContains(t, shown, "pass")
			assert.NotContains(t, shown, "ord")
		}
	}
	for text, message := range map[string]string{
		"":                       "does not begin with zk://",
		"http://a:2181/x":        "does not begin with zk://",
		"zk://a:2181":            `its path "/" is not one such as /mooring`,
		"zk://a:2181/":           `its path "/" is not one such as /mooring`,
		"zk://a:2181/x/":         `its path "/x/" is not one`,
		"zk://a:2181/x,b:2181":   `its path "/x,b:2181" is not one`,
		"zk://a:2181/../x":       `its path "/../x" is not one`,
		"zk:///mooring":          `its server ":2181" is not host:port`,
		"zk://a:2181,,b/mooring": `its server ":2181" is not host:port`,
		"zk://a:/mooring":        `its server "a:" is not host:port`,
		"zk://secret@a:2181/x":   "before the @ there is no user:password",
		"zk://secret:@a:2181/x":  "before the @ there is no user:password",
	} {
		_, err := ensemble.Parse(text)
		require.ErrorContains(t, err, message, text)
		require.ErrorContains(t, err, "it looks like zk://user:password@host:2181")
		require.NotContains(t, strings.ReplaceAll(err.Error(), "user:password", ""), "secret")
	}
}

func TestUserAndPasswordFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keeper")
	require.NoError(t, os.WriteFile(file, []byte("mooring:p@ss:w/ord\n"), 0o600))
	a, err := ensemble.Parse("zk://@" + file + "@a:2181,b/mooring")
	require.NoError(t, err)
	assert.Equal(t, "zk://a:2181,b:2181/mooring", a.String())
	assert.NotContains(t, fmt.Sprintf("%+v %#v", a, a), "ord")
	same, err := ensemble.Parse("zk://mooring:p@ss:w/ord@a:2181,b/mooring")
	require.NoError(t, err)
	assert.Equal(t, same, a)

	require.NoError(t, os.Chmod(file, 0o644))
	for address, says := range map[string]string{
		"zk://@" + file + "@a/mooring":  "is open to everybody on this machine",
		"zk://@keeper@a/mooring":        `its file "keeper" with user and password is not an absolute path`,
		"zk://@/no/such/file@a/mooring": "open /no/such/file: no such file",
		"zk://@/dev/null@a/mooring":     "is no file",
	} {
		_, err := ensemble.Parse(address)
		require.ErrorContains(t, err, says)
		assert.NotContains(t, err.Error(), "ord\n")
	}
}
