package plugin_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin"
	"mooring/plugin/admin"
	"mooring/plugin/guard"
	"mooring/test/ports"
)

// measure is what an address answers.
func measure(address, path string) string {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + address + path)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return fmt.Sprint(answer.StatusCode, " ", string(body), err)
}

// An address that another process has is said to be taken, keeps nobody from his volumes, and is used when it is free.
func TestMetricsAreServedWhereTheyAreAskedFor(t *testing.T) {
	taken := ports.Listen(t)
	t.Cleanup(func() { taken.Close() })
	cfg := configure(t, "hostA", t.TempDir())
	cfg.Heartbeat, cfg.Metrics = 100*time.Millisecond, taken.Addr().String()
	e, stop := serve(t, cfg)
	operator := admin.NewClient(cfg.StateDir)
	soon := func(what string, is func() bool) {
		require.Eventually(t, is, patience, 10*time.Millisecond, what)
	}
	trouble := func() string {
		survey, err := operator.Volumes(context.Background())
		if err != nil {
			return err.Error() // at first, the driver is not there
		}
		return survey.Metrics
	}
	soon("it is said", func() bool { return strings.Contains(trouble(), "address already in use") })
	e.call("Create", `{"Name":"v"}`)
	e.mount("v")
	require.NoError(t, taken.Close())
	soon("it is used", func() bool { return strings.Contains(measure(cfg.Metrics, "/metrics"), "\nmooring_leases_held 1\n") })
	assert.Empty(t, trouble())
	soon("it is ready", func() bool { return measure(cfg.Metrics, "/readyz") == "200 ready\n<nil>" })
	assert.Contains(t, measure(cfg.Metrics, "/v1/volumes"), "404 ")
	_, err := operator.Drain(context.Background())
	require.NoError(t, err)
	assert.Regexp(t, "^503 this host is drained since .*: new mounts are refused", measure(cfg.Metrics, "/readyz"))
	assert.Contains(t, measure(cfg.Metrics, "/healthz"), "200 ok\n", "a drained host is well")
	e.call("Unmount", `{"Name":"v","ID":"id1"}`)
	stop()
	assert.Contains(t, measure(cfg.Metrics, "/metrics"), "connection refused")
}

// deaf is a guard that can stop answering.
type deaf struct {
	trusted
	silent atomic.Bool
}

func (g *deaf) Attach(ctx context.Context, host guard.Host) (guard.Status, error) {
	if g.silent.Load() {
		return guard.Status{}, context.DeadlineExceeded
	}
	return g.trusted.Attach(ctx, host)
}

func TestAHostWhoseGuardDoesNotAnswerIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, g := configure(t, "hostA", t.TempDir()), &deaf{}
		cfg.Guard = g
		h := start(t, cfg).settled()
		require.NoError(t, h.Ready())
		assert.Equal(t, []bool{true, true}, []bool{h.Counts().GuardAnswers, h.Counts().GuardStays})
		g.silent.Store(true)
		h.settled()
		require.ErrorContains(t, h.Ready(), "the guard does not answer")
		assert.False(t, h.Counts().GuardAnswers)
		g.silent.Store(false)
		h.settled()
		require.NoError(t, h.Ready())
	})
}

func TestTheAddressForMetricsIsChecked(t *testing.T) {
	for _, address := range []string{"9273", "host", "host:", "a:b:c"} {
		cfg := configure(t, "hostA", t.TempDir())
		cfg.Metrics = address
		_, err := plugin.Open(cfg)
		require.EqualError(t, err, fmt.Sprintf("METRICS %q is not an address such as :9273 or 10.0.0.1:9273", address))
	}
}
