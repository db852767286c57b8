package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/admin"
	"mooring/plugin/backend"
	"mooring/plugin/doctor"
	"mooring/plugin/lease"
	"mooring/plugin/store"
)

// scriptedDriver answers operators.
type scriptedDriver struct {
	admin.Driver
	findings []doctor.Finding
}

func (*scriptedDriver) Survey() admin.Survey {
	return admin.Survey{Host: "hostA", Store: "ok", Volumes: []admin.Volume{
		{Name: "es1data", Class: "data", Backend: "image", Size: 100 << 30, State: "mounted", Holder: "hostA", Epoch: 7, Lease: lease.Held, Mounts: 1},
		{Name: "es2config", Class: "config", Backend: "dir", State: "released", Holder: "hostB", Epoch: 2, Lease: lease.Released, LastError: "no space"},
	}}
}

func (*scriptedDriver) Inspect(_ context.Context, name string) (admin.Detail, error) {
	if name == "cached" {
		return admin.Detail{Volume: admin.Volume{Name: name, Backend: "image"}, Image: "image", Device: "/dev/loop7", Buffered: true}, nil
	}
	return admin.Detail{Volume: admin.Volume{Name: name, Class: "data", Backend: "dir", State: "held elsewhere", Holder: "hostB", Epoch: 2, Lease: lease.Held},
		Mode: "0770", UID: 1000, Silent: "14s", Unguarded: true, MountIDs: map[string]int{"b": 1, "a": 2}}, nil
}

func (*scriptedDriver) Dispose(_ context.Context, name string, keep store.Delay) (store.Removed, error) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	return store.Removed{Name: name, ID: "4711", At: at, Until: at.Add(time.Duration(keep))}, nil
}

func (d *scriptedDriver) Trash(ctx context.Context) ([]store.Removed, error) {
	gone, err := d.Dispose(ctx, "v", admin.DefaultKeep)
	return []store.Removed{gone}, err
}

func (*scriptedDriver) Restore(_ context.Context, name, id string) (store.Removed, error) {
	if id == "" {
		return store.Removed{}, errors.New("two")
	}
	return store.Removed{Name: name, ID: id}, nil
}

func (*scriptedDriver) TakeOver(_ context.Context, name string, order admin.Order) (admin.Taken, error) {
	return admin.Taken{Volume: name, From: "hostB", FromEpoch: 2, Epoch: 3}, nil
}

func (*scriptedDriver) Gone(_ context.Context, host string, _ admin.GoneOrder) (admin.Gone, error) {
	switch host {
	case "burnt":
		return admin.Gone{Host: host, Taken: []admin.Taken{{Volume: "v", From: host, FromEpoch: 2, Epoch: 3}}, Left: []admin.Left{{Volume: "w", Error: "unreadable"}}}, nil
	default:
		return admin.Gone{Host: host}, nil
	}
}

func (*scriptedDriver) Grow(_ context.Context, name string, size store.Size) (admin.Grown, error) {
	return admin.Grown{Volume: name, From: 10 << 30, To: size, Later: name == "idle"}, nil
}

func (*scriptedDriver) Snapshot(_ context.Context, _ string, order admin.SnapshotOrder, say admin.Say) (backend.Snapshot, error) {
	if order.Copy {
		say("copied 100 %")
	}
	return backend.Snapshot{Name: order.Snapshot}, nil
}

func (*scriptedDriver) Snapshots(context.Context, string) ([]backend.Snapshot, error) {
	return []backend.Snapshot{{Name: "s", At: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), Size: 10 << 30}}, nil
}

func (*scriptedDriver) Clone(_ context.Context, name string, order admin.CloneOrder, _ admin.Say) (store.Volume, error) {
	return store.Volume{Name: name, From: order.From}, nil
}

func (*scriptedDriver) Check(_ context.Context, name string, order admin.CheckOrder, say admin.Say) (backend.Check, error) {
	say("Pass 1")
	return backend.Check{FS: "ext4", Sound: name == "v" || order.Repair, Repaired: order.Repair}, nil
}

func (*scriptedDriver) Counts() admin.Counts { return admin.Counts{} }

func (*scriptedDriver) Ready() error { return nil }

func (d *scriptedDriver) Drain() (admin.Drain, error) {
	return admin.Drain{Host: "hostA", Since: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), Held: d.Survey().Volumes[:1]}, nil
}

func (d *scriptedDriver) Undrain() (admin.Drain, error) { return admin.Drain{Host: "hostA"}, nil }

func (d *scriptedDriver) Diagnose(context.Context) ([]doctor.Finding, error) { return d.findings, nil }

func (d *scriptedDriver) Repair(context.Context) ([]admin.Repair, error) {
	repairs := []admin.Repair{{Finding: d.findings[0]}}
	d.findings = nil
	return repairs, nil
}

func TestVolumesCommand(t *testing.T) {
	state := t.TempDir()
	serveAdmin(t, state, &scriptedDriver{findings: []doctor.Finding{{Kind: "k", Volume: "v", What: "w", Why: "y", Fix: "f", Fixable: true}}})

	for _, row := range []struct {
		args      []string
		want, err string
	}{
		{[]string{"ls"}, "" +
			"NAME       STATE     HOLDER  EPOCH  MOUNTS  CLASS   BACKEND  SIZE  ERROR\n" +
			"es1data    mounted   hostA   7      1       data    image    100g  \n" +
			"es2config  released  -       2      0       config  dir      -     no space\n", ""},
		{[]string{"inspect", "v"}, "" +
			"name     v\nclass    data\nbackend  dir\nowner    1000:0\nmode     0770\ncreated  0001-01-01 00:00:00 UTC\nused     never mounted\n" +
			"state    held elsewhere\nlease    held by hostB, epoch 2, unguarded, heartbeat 14s ago\nmounts   a (2), b (1)\n", ""},
		{[]string{"inspect", "cached"}, "" +
			"name     cached\nbackend  image\nowner    0:0\ncreated  0001-01-01 00:00:00 UTC\nused     never mounted\nimage    image\n" +
			"device   /dev/loop7, without direct I/O: the store takes none, so the volume's data is cached twice\nlease    none\n", ""},
		{[]string{"rm", "v"}, "removed v; until 2026-11-29 12:00:00 UTC it comes back with: mooring volumes restore v\n", ""},
		{[]string{"rm", "v", "--trash", "90m"}, "removed v; until 2026-11-28 13:30:00 UTC it comes back with: mooring volumes restore v\n", ""},
		{[]string{"rm", "v", "--now"}, "removed v\n", ""},
		{[]string{"rm", "v", "--now", "--json"}, "{\n  \"name\": \"v\",\n  \"id\": \"4711\",\n  \"at\": \"2026-11-28T12:00:00Z\",\n  \"until\": \"2026-11-28T12:00:00Z\"\n}\n", ""},
		{[]string{"trash"}, "NAME  ID    REMOVED                  DELETED\nv     4711  2026-11-28 12:00:00 UTC  2026-11-29 12:00:00 UTC\n", ""},
		{[]string{"restore", "v"}, "", "two"},
		{[]string{"restore", "v", "--id", "47"}, "restored v\n", ""},
		{[]string{"takeover", "v", "--force"}, "", "a takeover needs a reason, which is logged: give --reason TEXT"},
		{[]string{"takeover", "v", "--force", "--reason", "burnt"}, "taken over v from host hostB (epoch 2): it is free under epoch 3, any host can mount it\n", ""},
		{[]string{"gone", "burnt"}, "", "a takeover needs a reason, which is logged: give --reason TEXT"},
		{[]string{"gone", "burnt", "--reason", "PSU"}, "taken over v from host burnt (epoch 2): it is free under epoch 3, any host can mount it\nleft w: unreadable\n",
			"not all of the host's volumes were taken over"},
		{[]string{"gone", "idle", "--reason", "PSU"}, "host idle holds no volume\n", ""},
		{[]string{"grow", "v", "20g"}, "grown v from 10GiB to 20GiB\n", ""},
		{[]string{"grow", "idle", "20g"}, "grown idle from 10GiB to 20GiB when it is mounted the next time\n", ""},
		{[]string{"grow", "v", "20g", "--json"}, "{\n  \"volume\": \"v\",\n  \"from\": \"10GiB\",\n  \"to\": \"20GiB\"\n}\n", ""},
		{[]string{"snapshot", "v", "s"}, "kept v@s; it becomes a volume with: mooring volumes clone v@s NEWNAME\n", ""},
		{[]string{"snapshot", "v", "s", "--copy"}, "copied 100 %\nkept v@s; it becomes a volume with: mooring volumes clone v@s NEWNAME\n", ""},
		{[]string{"snapshots", "v"}, "SNAPSHOT  TAKEN                    SIZE\nv@s       2026-11-28 12:00:00 UTC  10g\n", ""},
		{[]string{"clone", "v@s", "w"}, "made w from v@s\n", ""},
		{[]string{"fsck", "v"}, "Pass 1\nthe ext4 of v is in order\n", ""},
		{[]string{"fsck", "w"}, "Pass 1\nthe ext4 of w has errors, which --repair corrects\n", "the file system has errors"},
		{[]string{"fsck", "w", "--repair"}, "Pass 1\nthe ext4 of w was repaired and is in order\n", ""},
		{[]string{"drain"}, "host hostA is drained since 2026-11-28 12:00:00 UTC: new mounts are refused\nHELD     STATE    MOUNTS\nes1data  mounted  1\n", ""},
		{[]string{"drain", "--undo"}, "host hostA accepts mounts again\n", ""},
		{[]string{"doctor", "--docker-host="}, "volume v: k\n  what: w\n  why it matters: y\n  fix: f (--fix does it)\n", "there are findings"},
		{[]string{"doctor", "--fix", "--docker-host="}, "volume v: k: mended\neverything fits\n", ""},
		{[]string{"doctor", "--docker-host="}, "everything fits\n", ""},
	} {
		out, err := runVolumes(t, append(row.args, "--state-dir", state)...)
		assert.Equal(t, row.want, out, row.args)
		if row.err == "" {
			assert.NoError(t, err, row.args)
		} else {
			assert.EqualError(t, err, row.err, row.args)
		}
	}
}

// What the Docker Engine believes is compared with what the driver has, and an Engine that does not answer is no finding.
func TestTheDoctorAsksDocker(t *testing.T) {
	state, socket := t.TempDir(), filepath.Join(t.TempDir(), "docker.sock")
	serveAdmin(t, state, &scriptedDriver{})
	args := []string{"doctor", "--state-dir", state, "--docker-host", "unix://" + socket, "--volume-driver", "mooring:latest"}
	out, err := runVolumes(t, args...)
	require.NoError(t, err)
	assert.Contains(t, out, "not compared with Docker: ")
	assert.Contains(t, out, "everything fits\n")

	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	engine := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/containers/json") {
			w.Header().Set("Api-Version", "1.41") // the answer to a ping
			return
		}
		assert.Equal(t, "1", r.URL.Query().Get("all"))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `[{"Id":"1","Names":["/web"],"State":"running","Mounts":[{"Type":"volume","Name":"es2config","Driver":"mooring:latest"},
			{"Type":"volume","Name":"other","Driver":"local"},{"Type":"bind","Source":"/x"}]},
			{"Id":"2","Names":["/db"],"State":"exited","Mounts":[{"Type":"volume","Name":"lost","Driver":"mooring:latest"}]}]`)
	})}
	go engine.Serve(l)
	t.Cleanup(func() { _ = engine.Close() })
	out, err = runVolumes(t, args...)
	require.EqualError(t, err, "there are findings")
	assert.NotContains(t, out, "not compared")
	assert.Contains(t, out, "volume es1data: mount-without-container")
	assert.Contains(t, out, "volume es2config: container-not-mounted\n  what: Docker's container web runs with it")
	assert.Contains(t, out, "volume lost: container-without-volume\n  what: Docker's container db wants it")
	assert.NotContains(t, out, "volume other:")
}

// runVolumes is the command line "mooring volumes ARGS".
func runVolumes(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	var line struct {
		Volumes volumesCommand `cmd:""`
	}
	parser, err := kong.New(&line, kong.Writers(&out, &out))
	require.NoError(t, err)
	parsed, err := parser.Parse(append([]string{"volumes"}, args...))
	require.NoError(t, err)
	parsed.BindTo(t.Context(), (*context.Context)(nil))
	err = parsed.Run()
	return out.String(), err
}

func TestSizesForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "", 1: "1", 1000: "1000", 1024: "1k", 1536 << 20: "1536m", 10 << 30: "10g", 3 << 40: "3t", 5 << 50: "5120t"} {
		assert.Equal(t, want, size(n))
	}
}
