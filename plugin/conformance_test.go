package plugin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mooring/plugin"
	"mooring/plugin/class"
)

// conversations are what Docker's engine (20.10) sends for each command, recorded call by call, and what its own tests of volume
// plugins expect. The engine remembers what it was told, so an answer that differs loses a volume or leaves a container stuck.
//
// A step is a call, "Verb volume [mount ID or options]"; with ! before it, it must fail, with + between them calls are made at
// once. In small letters: write and see a file where the volume is mounted; run and exit a container with it; check that it is mounted,
// released, listed or gone; crash the plugin; hide and show the store; remove the volume behind the engine's back.
var conversations = []struct{ command, steps string }{
	// The commands.
	{"volume create", `!Get v; Create v {"uid":"7"}; listed v; released v`},
	{"volume create again, with other options", `Create v {"uid":"7"}; Get v; listed v`},
	{"volume create that the engine has forgotten", `Create v {"uid":"7"}; Create v {"uid":"7"}; Create v null; !Create v {"uid":"8"}; Get v`},
	{"volume create with options that cannot be", `!Get v; !Create v {"colour":"red"}; !Create v {"uid":"many"}; gone v; !Get v`},
	{"volume ls", `Create v null; Create w null; listed v; listed w`},
	{"volume inspect", `Create v null; Get v; !Get other`},
	{"run -v v:/data", `Create v null; Get v; Get v; Mount v 1; mounted v; Get v; Unmount v 1; released v`},
	{"run --volume-driver -v new:/data", `!Get v; Create v null; Get v; Mount v 1; write v; Get v; Unmount v 1; released v; Get v; Mount v 2; see v; Get v; Unmount v 2`},
	{"run --mount with options, twice", `!Get v; Create v {"uid":"7"}; Get v; Mount v 1; Get v; Unmount v 1; Get v; Get v; Mount v 2; Get v; Unmount v 2; released v`},
	{"run --rm without a name", `!Get HEX; Create HEX null; Get HEX; Mount HEX 1; Get HEX; Unmount HEX 1; Get HEX; Get HEX; Remove HEX; gone HEX; !Get HEX`},
	{"two containers at once", `Create v null; Get v + Get v; Mount v 1 + Mount v 2; mounted v; Unmount v 1; mounted v; Unmount v 2; released v`},
	{"a volume at two paths", `Create v null; Get v; Mount v 1; Get v; Mount v 2; Get v; Unmount v 2; mounted v; Get v; Unmount v 1; released v`},
	{"an image with files at the path", `Create v null; Get v; Mount v 1; write v; Get v; Unmount v 1; released v; Get v; Mount v 2; see v; Get v; Unmount v 2; Get v; Mount v 3; see v; run v; exit v; Get v; Unmount v 3; released v`},
	{"rm -v of an anonymous volume", `Create HEX null; Mount HEX 1; Unmount HEX 1; Get HEX; Get HEX; Remove HEX; gone HEX`},
	{"cp on a stopped container", `Create v null; Get v; Mount v 1; write v; Get v; Unmount v 1; released v`},
	{"cp into a running container", `Create v null; Mount v 2; run v; write v; Get v; Mount v 2; Get v; Unmount v 2; mounted v; Get v; Mount v 2; Get v; Unmount v 2; mounted v; see v; exit v; Get v; Unmount v 2; released v`},
	{"restart", `Create v null; Get v; Mount v 1; write v; run v; exit v; Get v; Unmount v 1; Get v; Mount v 2; see v; mounted v; Get v; Unmount v 2; released v`},
	{"volume rm", `Create v null; Get v; Get v; Remove v; gone v; !Get v`},
	{"volume rm, asked again", `Create v null; Remove v; Remove v; Remove never; gone v`},
	{"volume rm of one in use", `Create v null; Mount v 1; run v; Get v; !Remove v; mounted v; Get v; exit v; Unmount v 1; Remove v; gone v`},
	{"volume rm nosuch", `!Get nosuch; gone nosuch`},
	{"a container with many volumes", `Create a null; Create b null; Create c null; Mount c 1; Mount a 2; Mount b 3; mounted a; mounted b; mounted c; Unmount b 3; Unmount c 1; Unmount a 2; released a; released b; released c`},
	{"rm -f of a running container", `Create v null; Mount v 1; run v; exit v; Get v; Unmount v 1; released v`},
	{"a name that is used again", `Create v {"uid":"7"}; Mount v 1; write v; Unmount v 1; Remove v; gone v; !Get v; Create v {"uid":"8"}; Mount v 2; empty v; Unmount v 2`},

	// What goes wrong.
	{"an engine that is killed and starts a container again", `Create v null; Mount v 1; run v; exit v; Get v; Get v; Mount v 1; run v; mounted v; exit v; Get v; Unmount v 1; Get v; Get v; Remove v; gone v`},
	{"an engine that is killed and starts none again", `Create v null; Mount v 1; run v; exit v; Get v; Remove v; gone v`},
	{"an engine that returns to its containers", `Create v null; Mount v 1; run v; Get v; exit v; Get v; Unmount v 1; released v`},
	{"a plugin that crashes", `Create v null; Mount v 1; write v; run v; crash; Get v; listed v; mounted v; see v; Mount v 2; Unmount v 2; mounted v; exit v; Unmount v 1; released v`},
	{"Mount that fails, after which no Unmount comes", `Create v null; hide; Get v; !Mount v 1; Get v; listed v; show; released v; Mount v 2; Unmount v 2; released v`},
	{"Mount of what is not there", `!Mount v 1; gone v`},
	{"Unmount that comes twice, or for nothing", `Create v null; Unmount v 1; Unmount other 1; Mount v 1; Unmount v 2; mounted v; Unmount v 1; Unmount v 1; released v`},

	// Docker's own tests of volume plugins.
	{"VolumeCLICreateOptionConflict", `Create v null; Get v; listed v`},
	{"Named", `!Get v; Create v null; Get v; Mount v 1; write v; see v; Get v; Unmount v 1; Get v; Get v; Remove v; gone v`},
	{"VolumesFrom", `!Get v; Create v null; Mount v 1; run v; Get v; Mount v 2; exit v; Unmount v 1; mounted v; Unmount v 2; Get v; Remove v; gone v`},
	{"BindExternalVolume", `Create v null; Get v; Get v; Mount v 1; Get v; Unmount v 1; released v`},
	{"WithDaemonRestart", `Create v null; Get v; Get v; listed v`},
	{"OutOfBandDelete", `Create v {"uid":"7"}; behind v; gone v; !Get v; Create v {"uid":"8"}; Get v; listed v`},
	{"UnmountOnMountFail", `Create v null; hide; !Mount v 1; show; released v; Remove v; gone v`},
	{"UnmountOnCp", `!Get v; Create v null; Mount v 1; run v; Mount v 1; Unmount v 1; mounted v; exit v; Unmount v 1; released v`},
}

// A managed plugin is asked for its capabilities before every call, a plain one once, after it was activated.
func TestConformance(t *testing.T) {
	for _, kind := range []struct {
		name    string
		managed bool
		backend string
	}{{"managed, image", true, "image"}, {"managed, dir", true, "dir"}, {"plain, dir", false, "dir"}} {
		t.Run(kind.name, func(t *testing.T) {
			for _, c := range conversations {
				t.Run(c.command, func(t *testing.T) {
					cfg := configure(t, "hostA", t.TempDir())
					cfg.Classes = []class.Class{{Name: "all", Pattern: regexp.MustCompile(""), Mode: 0o755, Backend: kind.backend, Size: 32 << 20}}
					talk := converse(t, cfg, kind.managed)
					for step := range strings.SplitSeq(strings.ReplaceAll(c.steps, "HEX", strings.Repeat("0f", 32)), "; ") {
						talk.step(step)
					}
				})
			}
		})
	}
}

// conversation is an engine that talks with a plugin on its socket.
type conversation struct {
	*host
	managed bool
	socket  string
	http    *http.Client
	exit    map[string]func()
	show    func()
}

func converse(t *testing.T, cfg plugin.Config, managed bool) *conversation {
	t.Helper()
	c := &conversation{host: start(t, cfg), managed: managed, socket: filepath.Join(t.TempDir(), "mooring.sock"), exit: map[string]func(){}}
	c.http = dial(t, c.socket).http
	c.listen()
	if !managed {
		assert.JSONEq(t, `{"Implements":["VolumeDriver"]}`, c.must("/Plugin.Activate", nil))
		c.capabilities()
	}
	return c
}

func (c *conversation) listen() {
	l, err := plugin.Listen(c.socket)
	require.NoError(c.t, err)
	server := &http.Server{Handler: c.Handler()}
	go server.Serve(l)
	c.t.Cleanup(func() { server.Close() })
	c.crash = func(end func()) func() { return func() { server.Close(); end() } }(c.crash)
}

// ask sends a request with the headers and the body that the engine sends.
func (c *conversation) ask(path string, body any) (int, string, error) {
	text := ""
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return 0, "", err
		}
		text = string(encoded) + "\n"
	}
	r, err := http.NewRequest(http.MethodPost, "http://plugin"+path, strings.NewReader(text))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Accept", "application/vnd.docker.plugins.v1.2+json")
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(content), err
}

func (c *conversation) must(path string, body any) string {
	c.t.Helper()
	status, answer, err := c.ask(path, body)
	require.NoError(c.t, err)
	require.Equal(c.t, http.StatusOK, status, answer)
	return answer
}

func (c *conversation) capabilities() {
	c.t.Helper()
	assert.JSONEq(c.t, `{"Capabilities":{"Scope":"local"}}`, c.must("/VolumeDriver.Capabilities", struct{}{}))
}

// step is one step, or several at once.
func (c *conversation) step(text string) {
	c.t.Helper()
	words := strings.Fields(text)
	if first := strings.TrimLeft(words[0], "!"); first == strings.ToLower(first) {
		c.act(words[0], strings.Join(words[1:], " "))
		return
	}
	var calls errgroup.Group
	for call := range strings.SplitSeq(text, " + ") {
		if c.managed {
			c.capabilities()
		}
		calls.Go(func() error { return c.call(call) })
	}
	require.NoError(c.t, calls.Wait(), text)
}

// call makes one call and holds the answer against the protocol.
func (c *conversation) call(text string) error {
	words := strings.Fields(strings.TrimPrefix(text, "!"))
	verb, name := words[0], words[1]
	body := map[string]any{"Name": name}
	switch verb {
	case "Create":
		body["Opts"] = json.RawMessage(words[2])
	case "Mount", "Unmount":
		body["ID"] = words[2]
	}
	status, answer, err := c.ask("/VolumeDriver."+verb, body)
	if err != nil {
		return err
	}
	var said struct {
		Err        string
		Mountpoint string
		Volume     *struct{ Name, Mountpoint, CreatedAt string }
	}
	if err := json.Unmarshal([]byte(answer), &said); err != nil {
		return fmt.Errorf("%s answers %q: %w", text, answer, err)
	}
	switch {
	case strings.HasPrefix(text, "!"):
		return expect(status == http.StatusInternalServerError && said.Err != "" && (verb != "Get" || strings.Contains(said.Err, "no such volume")), text, answer)
	case status != http.StatusOK || said.Err != "":
		return fmt.Errorf("%s answers %d %s", text, status, answer)
	case verb == "Mount":
		return expect(said.Mountpoint == c.mountpoint(name), text, answer)
	case verb == "Get":
		return expect(said.Volume != nil && said.Volume.Name == name && said.Volume.CreatedAt != "", text, answer)
	}
	return nil
}

func expect(ok bool, text, answer string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%s answers %s", text, answer)
}

// act does or checks what is no call of the engine's.
func (c *conversation) act(what, name string) {
	c.t.Helper()
	file := filepath.Join(c.mountpoint(name), "file")
	switch what {
	case "write":
		require.NoError(c.t, os.WriteFile(file, []byte("kept"), 0o600))
	case "see":
		assert.Equal(c.t, "kept", readFile(c.t, file))
	case "empty":
		assert.NoFileExists(c.t, file)
	case "run":
		c.exit[name] = container(c.t, c.mountpoint(name))
	case "exit":
		c.exit[name]()
	case "crash":
		c.host = c.restart()
		c.listen()
	case "hide":
		require.NoError(c.t, unix.Mount("tmpfs", c.cfg.StoreDir, "tmpfs", 0, ""))
		c.show = func() { require.NoError(c.t, unix.Unmount(c.cfg.StoreDir, 0)) }
	case "show":
		c.show()
	case "behind":
		require.NoError(c.t, gone(c.Dispose(context.Background(), name, 0)))
	case "mounted":
		assert.True(c.t, c.mounted(name), name)
		assert.Equal(c.t, "mounted", c.state(name))
		assert.Contains(c.t, c.must("/VolumeDriver.Path", map[string]string{"Name": name}), c.mountpoint(name))
	case "listed":
		assert.Contains(c.t, c.must("/VolumeDriver.List", struct{}{}), `"Name":"`+name+`"`)
	case "released":
		assert.Contains(c.t, []any{"created", "released"}, c.state(name))
		assert.Empty(c.t, c.mounts(name))
		c.nothingLeft(name)
	case "gone":
		assert.NotContains(c.t, c.must("/VolumeDriver.List", struct{}{}), `"Name":"`+name+`"`)
		assert.NoDirExists(c.t, filepath.Dir(c.file(name, "")))
		c.nothingLeft(name)
	default:
		require.Fail(c.t, "no such step", what)
	}
}

// nothingLeft looks for what the use of a volume may leave behind.
func (c *conversation) nothingLeft(name string) {
	c.t.Helper()
	assert.NoDirExists(c.t, c.mountpoint(name))
	assertNoDevices(c.t, c.cfg.StoreDir)
}
