package plugin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin"
)

// engine calls a plugin's socket as Docker's engine does.
type engine struct {
	t    testing.TB
	http *http.Client
}

func dial(t testing.TB, socket string) *engine {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &engine{t: t, http: &http.Client{Transport: transport}}
}

// post sends a body as it is and returns status and answer.
func (e *engine) post(path, body string) (int, string) {
	r, err := e.http.Post("http://plugin"+path, "", strings.NewReader(body))
	require.NoError(e.t, err)
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	require.NoError(e.t, err)
	return r.StatusCode, strings.TrimSpace(string(answer))
}

// call is one verb that must succeed.
func (e *engine) call(verb, body string) string {
	status, answer := e.post("/VolumeDriver."+verb, body)
	require.Equal(e.t, http.StatusOK, status, "%s %s: %s", verb, body, answer)
	return answer
}

// serve runs the whole driver on a socket until the test ends.
func serve(t testing.TB, cfg plugin.Config) (*engine, func()) {
	cfg.Socket = filepath.Join(t.TempDir(), "mooring.sock")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- plugin.Run(ctx, cfg) }()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			cancel()
			assert.NoError(t, <-ended)
			assert.NoFileExists(t, cfg.Socket)
		}
	}
	t.Cleanup(stop)
	awaitSocket(t, cfg.Socket)
	return dial(t, cfg.Socket), stop
}

func awaitSocket(t testing.TB, socket string) {
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", socket)
		return err == nil && c.Close() == nil
	}, patience, time.Millisecond)
}

func TestProtocol(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	e, _ := serve(t, cfg)
	status, answer := e.post("/Plugin.Activate", "")
	assert.Equal(t, `200 {"Implements":["VolumeDriver"]}`, fmt.Sprint(status, " ", answer))
	assert.Equal(t, `{"Capabilities":{"Scope":"local"}}`, e.call("Capabilities", "{}"))
	assert.Equal(t, `{"Volumes":[]}`, e.call("List", "{}"))
	assert.Equal(t, `{}`, e.call("Create", `{"Name":"v","Opts":null}`))
	assert.Equal(t, `{"Mountpoint":"`+cfg.MountRoot+`/v"}`, e.call("Mount", `{"Name":"v","ID":"i"}`))
	assert.Equal(t, `{"Mountpoint":"`+cfg.MountRoot+`/v"}`, e.call("Path", `{"Name":"v"}`))
	var got struct {
		Volume struct{ Name, Mountpoint, CreatedAt string }
	}
	require.NoError(t, json.Unmarshal([]byte(e.call("Get", `{"Name":"v"}`)), &got))
	assert.Equal(t, []string{"v", cfg.MountRoot + "/v"}, []string{got.Volume.Name, got.Volume.Mountpoint})
	_, err := time.Parse(time.RFC3339, got.Volume.CreatedAt)
	assert.NoError(t, err, "the engine takes an unreadable time for a missing volume")
	assert.Equal(t, `{}`, e.call("Unmount", `{"Name":"v","ID":"i"}`))
	assert.Equal(t, `{}`, e.call("Remove", `{"Name":"v"}`))
}

func TestAPluginThatTheEngineDoesNotSeeEndsToBeStartedAnew(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	cfg.Socket = filepath.Join(t.TempDir(), "mooring.sock")
	var now atomic.Int64
	cfg.Clock = func() time.Duration { return time.Duration(now.Load()) }
	var reaches atomic.Bool
	cfg.Reaches = func() (bool, error) { return reaches.Load(), nil }
	ended := make(chan error, 1)
	go func() { ended <- plugin.Run(t.Context(), cfg) }()
	e := dial(t, cfg.Socket)
	awaitSocket(t, cfg.Socket)
	e.call("Create", `{"Name":"v"}`)
	mount := func() (int, string) { return e.post("/VolumeDriver.Mount", `{"Name":"v","ID":"i"}`) }

	status, answer := mount()
	assert.Equal(t, http.StatusInternalServerError, status)
	assert.Contains(t, answer, "the engine has lost its side")
	reaches.Store(true)
	e.call("Mount", `{"Name":"v","ID":"i"}`) // a plugin that has only just begun must not end: so might the next
	e.call("Unmount", `{"Name":"v","ID":"i"}`)
	assert.Empty(t, ended)

	reaches.Store(false)
	now.Store(int64(10 * time.Second))
	status, _ = mount()
	assert.Equal(t, http.StatusInternalServerError, status)
	require.ErrorContains(t, <-ended, "the engine has lost its side")
}

func TestBadRequests(t *testing.T) {
	e, _ := serve(t, configure(t, "hostA", t.TempDir()))
	for _, row := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"Create", "", 400, `{"Err":"/VolumeDriver.Create: the request is empty: send it again"}`},
		{"Mount", "", 400, `{"Err":"/VolumeDriver.Mount: the request is empty: send it again"}`},
		{"Create", "{", 400, `{"Err":"/VolumeDriver.Create: decode request: unexpected end of JSON input"}`},
		{"Create", `{"Name":7}`, 400, `decode request: json: cannot unmarshal number`},
		{"Create", `{"Name":"v","Opts":{"uid":7}}`, 400, `decode request: json: cannot unmarshal number`},
		{"Create", `["v"]`, 400, `decode request: json: cannot unmarshal array`},
		{"Create", `{"Name":"v"} {}`, 400, `decode request: invalid character`},
		{"Create", `{"Name":"` + strings.Repeat("a", 20<<20) + `"}`, 400, `read request: http: request body too large`},
		{"Create", `{"Name":"../x"}`, 500, `{"Err":"volume name \"../x\" is not allowed`},
		{"Create", `null`, 500, `{"Err":"volume name \"\" is not allowed`},
		{"Get", `{"Name":""}`, 500, `{"Err":"no name: Get needs the name of a volume"}`},
		{"Get", `{"Name":"v"}`, 500, `{"Err":"no such volume: v"}`},
		{"Mount", `{"Name":"v","ID":"i"}`, 500, `{"Err":"no such volume: v"}`},
		{"Unmount", `{"Name":"v","ID":"i"}`, 200, `{}`},
		{"Remove", `{"Name":"v"}`, 200, `{}`},
	} {
		status, answer := e.post("/VolumeDriver."+row.path, row.body)
		assert.Equal(t, row.status, status, answer)
		assert.Contains(t, answer, row.want)
		var err struct{ Err string }
		assert.NoError(t, json.Unmarshal([]byte(answer), &err), "always JSON")
	}
	status, _ := e.post("/VolumeDriver.Nothing", "{}")
	assert.Equal(t, 404, status)
	assert.Equal(t, `{"Volumes":[]}`, e.call("List", "{}"), "nothing was made")
}

func TestAPanicIsAnAnswer(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	failing := &dying{at: "mount", armed: true}
	cfg.Backend = failing
	e, _ := serve(t, cfg)
	e.call("Create", `{"Name":"v"}`)
	status, answer := e.post("/VolumeDriver.Mount", `{"Name":"v","ID":"i"}`)
	assert.Equal(t, `500 {"Err":"volume v: internal error: killed"}`, fmt.Sprint(status, " ", answer))
	e.call("Mount", `{"Name":"v","ID":"i"}`)
}

func TestTheSocketAnswersWhileTheStoreIsMissing(t *testing.T) {
	cfg := configure(t, "hostA", filepath.Join(t.TempDir(), "missing"))
	e, _ := serve(t, cfg)
	assert.Equal(t, `{"Volumes":[]}`, e.call("List", "{}"))
	status, answer := e.post("/VolumeDriver.Create", `{"Name":"v"}`)
	assert.Equal(t, 500, status)
	assert.Contains(t, answer, "store directory "+cfg.StoreDir+" is missing")
}

// Storage hangs at the plugin's start: known volumes are still answered for.
func TestGetAndListAnswerWhileStorageHangs(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	h := start(t, cfg)
	h.create("v")
	h.mount("v", "i")
	h.crash()
	stuck := newStuck()
	cfg.Backend = stuck
	kill := container(t, filepath.Join(cfg.MountRoot, "v"))
	defer kill()
	unmountAll(t, cfg.MountRoot)
	e, _ := serve(t, cfg)
	<-stuck.entered
	defer close(stuck.free)
	assert.Contains(t, e.call("Get", `{"Name":"v"}`), `"Name":"v"`)
	assert.Contains(t, e.call("List", `{}`), `"Name":"v"`)
	e.call("Path", `{"Name":"v"}`)
	e.call("Capabilities", `{}`)
}

func TestAClientThatHangsUpLeavesNoHold(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	stuck := newStuck()
	cfg.Backend = stuck
	e, _ := serve(t, cfg)
	e.call("Create", `{"Name":"v"}`)
	ctx, hangUp := context.WithCancel(context.Background())
	go func() { <-stuck.entered; hangUp() }()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/VolumeDriver.Mount", bytes.NewBufferString(`{"Name":"v","ID":"i"}`))
	require.NoError(t, err)
	_, err = e.http.Do(r)
	require.ErrorIs(t, err, context.Canceled)
	close(stuck.free)
	require.Eventually(t, func() bool {
		return strings.Contains(e.call("Get", `{"Name":"v"}`), `"state":"released"`)
	}, patience, 5*time.Millisecond)
	assert.NoDirExists(t, filepath.Join(cfg.MountRoot, "v"))
}

func TestStopLeavesNothingMounted(t *testing.T) {
	cfg := configure(t, "hostA", t.TempDir())
	e, stop := serve(t, cfg)
	e.call("Create", `{"Name":"v"}`)
	e.call("Mount", `{"Name":"v","ID":"i"}`)
	stop()
	assert.NoDirExists(t, filepath.Join(cfg.MountRoot, "v"))
	assert.Contains(t, readFile(t, filepath.Join(cfg.StoreDir, "mooring/volumes/v/lease.1")), `"state":"released"`)
}

func TestListen(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "plugins/mooring.sock")
	l, err := plugin.Listen(socket)
	require.NoError(t, err)
	info, err := os.Stat(socket)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o660), info.Mode().Perm())
	_, err = plugin.Listen(socket)
	assert.EqualError(t, err, "socket "+socket+" is in use by another process")

	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	l, err = plugin.Listen(socket)
	require.NoError(t, err, "a killed plugin's socket is replaced")
	require.NoError(t, l.Close())

	_, err = plugin.Listen("mooring")
	assert.EqualError(t, err, `socket "mooring" is not an absolute path such as /run/docker/plugins/mooring.sock`)
}
