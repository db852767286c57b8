package plugin_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring/plugin"
	"mooring/plugin/admin"
	"mooring/plugin/doctor"
	"mooring/plugin/store"
)

// operated is a host that runs as a process does, and its operator.
func operated(t *testing.T, name, store string) (plugin.Config, *engine, *admin.Client) {
	t.Helper()
	cfg := configure(t, name, store)
	cfg.Heartbeat = 100 * time.Millisecond
	e, _ := serve(t, cfg)
	client := admin.NewClient(cfg.StateDir)
	require.Eventually(t, func() bool { return probe(t, cfg, "/healthz") == "ok\n" }, patience, 10*time.Millisecond)
	return cfg, e, client
}

// probe is the text that a path of the admin socket answers.
func probe(t *testing.T, cfg plugin.Config, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(cfg.StateDir, "mooring-host", admin.Socket))
	}}}
	answer, err := client.Get("http://mooring" + path)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(body)
}

func (e *engine) mount(name string) { e.call("Mount", fmt.Sprintf(`{"Name":%q,"ID":"id1"}`, name)) }

// kinds are the findings, each as KIND VOLUME.
func kinds(found []doctor.Finding) []string {
	names := []string{}
	for _, f := range found {
		names = append(names, strings.TrimSpace(fmt.Sprint(f.Kind, " ", f.Volume)))
	}
	return names
}

// gone is the error of a removal.
func gone(_ store.Removed, err error) error { return err }

func TestAnOperatorSeesAndRemovesVolumes(t *testing.T) {
	store, ctx := t.TempDir(), context.Background()
	cfg, e, operator := operated(t, "hostA", store)
	info, err := os.Stat(filepath.Join(cfg.StateDir, "mooring-host/admin.sock"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	e.call("Create", `{"Name":"seen1data"}`)
	e.call("Create", `{"Name":"seen2data"}`)
	e.mount("seen1data")
	kill := container(t, filepath.Join(cfg.MountRoot, "seen1data"))
	survey, err := operator.Volumes(ctx)
	require.NoError(t, err)
	assert.Equal(t, admin.Survey{Host: "hostA", Store: "ok", Volumes: []admin.Volume{
		{Name: "seen1data", Class: "data", Backend: "dir", State: "mounted", Holder: "hostA", Epoch: 1, Lease: "held", Here: true, Mounts: 1},
		{Name: "seen2data", Class: "data", Backend: "dir", State: "created"},
	}}, survey)

	v, err := operator.Inspect(ctx, "seen1data")
	require.NoError(t, err)
	assert.Equal(t, survey.Volumes[0], v.Volume)
	assert.Equal(t, filepath.Join(cfg.MountRoot, "seen1data"), v.Mountpoint)
	assert.Equal(t, filepath.Join(store, "mooring/volumes/seen1data"), v.Path)
	assert.Equal(t, map[string]int{"id1": 1}, v.MountIDs)
	assert.Equal(t, []any{1000, "0770", "boot-1"}, []any{v.UID, v.Mode, v.HolderBoot})
	require.Len(t, v.Containers, 1)
	_, err = operator.Inspect(ctx, "nosuch")
	assert.EqualError(t, err, "no such volume: nosuch")

	_, _, operatorB := operated(t, "hostB", store)
	require.Eventually(t, func() bool { s, err := operatorB.Volumes(ctx); return err == nil && len(s.Volumes) == 2 }, patience, 10*time.Millisecond)
	assert.ErrorContains(t, gone(operatorB.Remove(ctx, "seen1data", 0)), "volume seen1data is held by host hostA (epoch 1")
	assert.ErrorContains(t, gone(operator.Remove(ctx, "seen1data", 0)), "volume seen1data is in use by process")
	assert.EqualError(t, gone(operator.Remove(ctx, "nosuch", 0)), "no such volume: nosuch")
	require.NoError(t, gone(operator.Remove(ctx, "seen2data", 0)))
	kill()
	require.NoError(t, gone(operator.Remove(ctx, "seen1data", 0)))
	assert.NoDirExists(t, filepath.Join(store, "mooring/volumes/seen1data"))
	assert.NoDirExists(t, filepath.Join(cfg.MountRoot, "seen1data"))

	metrics := probe(t, cfg, "/metrics")
	for _, line := range []string{"mooring_store_usable 1", "mooring_drained 0", "mooring_mounts 0", "mooring_leases_held 0",
		`mooring_calls_total{verb="VolumeDriver.Create",outcome="ok"} 2`, `mooring_calls_total{verb="VolumeDriver.Mount",outcome="ok"} 1`} {
		assert.Contains(t, metrics, line+"\n")
	}
}

func TestAnOperatorRemovesWhatHasNoRecord(t *testing.T) {
	store, ctx := t.TempDir(), context.Background()
	_, _, operator := operated(t, "hostA", store)
	half := filepath.Join(store, "mooring/volumes/half")
	require.NoError(t, os.MkdirAll(filepath.Join(half, "data"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(half, "volume.json"), nil, 0o600))
	broken := filepath.Join(store, "mooring/volumes/broken")
	require.NoError(t, os.MkdirAll(broken, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(broken, "volume.json"), []byte("{}"), 0o600))

	report, err := operator.Doctor(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{"unreadable broken", "volume-json-missing half"}, kinds(report.Findings))
	assert.ErrorContains(t, gone(operator.Remove(ctx, "broken", 0)), "volume.json is unreadable or not of volume broken")
	assert.DirExists(t, broken, "what nobody understands is not thrown away")
	require.NoError(t, gone(operator.Remove(ctx, "half", 0)))
	assert.NoDirExists(t, half)
}

func TestTheDoctorMendsWhatIsSafe(t *testing.T) {
	store, ctx := t.TempDir(), context.Background()
	cfg, e, operator := operated(t, "hostA", store)
	for _, name := range []string{"used", "leased", "mounted", "stuck", "silent"} {
		e.call("Create", fmt.Sprintf(`{"Name":%q}`, name))
		e.mount(name)
	}
	container(t, filepath.Join(cfg.MountRoot, "used"))
	for _, name := range []string{"leased", "mounted", "stuck", "silent"} {
		e.call("Unmount", fmt.Sprintf(`{"Name":%q,"ID":"id1"}`, name))
	}
	report, err := operator.Doctor(ctx)
	require.NoError(t, err)
	require.Empty(t, report.Findings)

	volumes := filepath.Join(store, "mooring/volumes")
	rewrite := func(name, from, to string) {
		path := filepath.Join(volumes, name, "lease.1")
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(readFile(t, path), from, to, 1)), 0o600))
	}
	rewrite("leased", `"released"`, `"held"`) // a release that was not written
	for _, name := range []string{"mounted", "stuck"} {
		target := filepath.Join(cfg.MountRoot, name)
		require.NoError(t, os.Mkdir(target, 0o700))
		require.NoError(t, unix.Mount(filepath.Join(volumes, name, "data"), target, "", unix.MS_BIND, ""))
	}
	kill := container(t, filepath.Join(cfg.MountRoot, "stuck"))
	rewrite("silent", `"released"`, `"unattended"`)
	rewrite("silent", `"hostA"`, `"hostZ"`)
	old, fresh := filepath.Join(volumes, "used/.volume.json.123"), filepath.Join(volumes, "used/image.new.1")
	stray := filepath.Join(volumes, "used/notes.txt")
	for _, path := range []string{old, fresh, stray} {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	require.NoError(t, os.Chtimes(old, time.Time{}, time.Now().Add(-2*time.Hour)))

	report, err = operator.Doctor(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{"lease-not-recorded leased", "mounted-without-use mounted", "holder-unknown silent",
		"container-without-lease stuck", "mounted-without-use stuck", "half-made-file", "stray-file"}, kinds(report.Findings))

	report, err = operator.Fix(ctx)
	require.NoError(t, err)
	for _, r := range report.Repairs {
		assert.Empty(t, r.Error, r.What)
	}
	assert.Len(t, report.Repairs, 3)
	assert.Equal(t, []string{"holder-unknown silent", "container-without-lease stuck", "mounted-without-use stuck", "stray-file"}, kinds(report.Findings))
	assert.Contains(t, readFile(t, filepath.Join(volumes, "leased/lease.1")), `"released"`)
	assert.NoDirExists(t, filepath.Join(cfg.MountRoot, "mounted"))
	assert.NoFileExists(t, old)
	assert.FileExists(t, fresh, "its maker may be at work")
	assert.FileExists(t, stray)
	assert.DirExists(t, filepath.Join(cfg.MountRoot, "used"), "what is in use stays")

	kill()
	report, err = operator.Fix(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{"holder-unknown silent", "stray-file"}, kinds(report.Findings))
}

func TestTheDoctorWithoutAStore(t *testing.T) {
	store, ctx := t.TempDir(), context.Background()
	cfg, e, operator := operated(t, "hostA", store)
	e.call("Create", `{"Name":"v"}`)
	cover(t, store)
	report, err := operator.Fix(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{"store-unusable"}, kinds(report.Findings))
	assert.Contains(t, report.Findings[0].What, "store "+store+" is missing")
	require.Eventually(t, func() bool { return strings.Contains(probe(t, cfg, "/healthz"), "is missing") }, patience, 10*time.Millisecond)
	v, err := operator.Inspect(ctx, "v")
	require.NoError(t, err)
	assert.Contains(t, v.Problem, "is missing", "what is remembered is shown all the same")
}
