package ensemble_test

import (
	"fmt"
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
