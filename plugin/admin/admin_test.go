package admin_test

import (
	"context"
	"errors"
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
	"go.uber.org/goleak"

	"mooring/plugin/admin"
	"mooring/plugin/doctor"
	"mooring/plugin/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// driver is a scripted one.
type driver struct {
	admin.Driver
	survey   admin.Survey
	findings []doctor.Finding
	health   error
	ready    error
	order    admin.Order
	gone     admin.GoneOrder
	disposed string
}

func (d *driver) Survey() admin.Survey { return d.survey }

func (d *driver) Inspect(_ context.Context, name string) (admin.Detail, error) {
	if name != "v" {
		return admin.Detail{}, fmt.Errorf("%w: %s", admin.ErrNoVolume, name)
	}
	return admin.Detail{Volume: admin.Volume{Name: name}, Containers: []string{"process 7"}}, nil
}

func (d *driver) Dispose(_ context.Context, name string, keep store.Delay) (store.Removed, error) {
	d.disposed = name + " " + keep.String()
	if name != "v" {
		return store.Removed{}, errors.Join(errors.New("in use"), errors.New("here"))
	}
	return store.Removed{Name: name, ID: "1"}, nil
}

func (d *driver) TakeOver(_ context.Context, name string, order admin.Order) (admin.Taken, error) {
	d.order = order
	return admin.Taken{Volume: name, From: "hostB", FromEpoch: 1, Epoch: 2}, nil
}

func (d *driver) Gone(_ context.Context, host string, order admin.GoneOrder) (admin.Gone, error) {
	d.gone = order
	return admin.Gone{Host: host, Taken: []admin.Taken{}, Left: []admin.Left{{Volume: "v", Error: "why"}}}, nil
}

func (d *driver) Diagnose(context.Context) ([]doctor.Finding, error) { return d.findings, nil }

func (d *driver) Repair(context.Context) ([]admin.Repair, error) {
	repaired := d.findings
	d.findings = nil
	return []admin.Repair{{Finding: repaired[0], Error: "busy"}}, nil
}

func (d *driver) Clone(ctx context.Context, name string, order admin.CloneOrder, say admin.Say) (store.Volume, error) {
	switch order.From {
	case "quick":
		return store.Volume{Name: name}, nil
	case "refused":
		return store.Volume{}, errors.New("in use")
	}
	say("1 %")
	say("2 %")
	switch order.From {
	case "broken":
		return store.Volume{}, errors.New("no space")
	case "endless":
		<-ctx.Done()
		say("3 %")
		return store.Volume{}, ctx.Err()
	}
	return store.Volume{Name: name, From: order.From}, nil
}

func (d *driver) Health() error { return d.health }
func (d *driver) Ready() error  { return d.ready }

func (d *driver) Counts() admin.Counts {
	return admin.Counts{StoreUsable: true, Phases: map[string]int{"mounted": 2, "created": 1}, Mounts: 3, Leases: 2, Beaten: true,
		BeatAge: 1500 * time.Millisecond, Calls: map[admin.Call]uint64{{Verb: "Mount", OK: true}: 5, {Verb: "Mount"}: 1, {Verb: "Get", OK: true}: 7},
		GuardAnswers: true, Happened: admin.Happened{Fences: 4, TakenFromSilent: 5, TakenByOrder: 6, LeasesLost: 8}}
}

// serve answers for a driver below a state directory whose name is too long for a socket's address.
func serve(t *testing.T, d admin.Driver) (stateDir string, raw *http.Client) {
	t.Helper()
	stateDir = filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	dir := filepath.Join(stateDir, "mooring-host")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, admin.Socket), nil, 0o600), "as a killed plugin leaves it")
	l, err := admin.Listen(dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- admin.Serve(ctx, l, admin.Handler(d, nil)) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })
	at, err := os.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { at.Close() })
	return stateDir, &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", at.Fd(), admin.Socket))
	}}}
}

func TestOrdersAndAnswers(t *testing.T) {
	finding := doctor.Finding{Kind: doctor.StrayFile, Path: "/p", What: "w", Why: "y", Fix: "f", Fixable: true}
	d := &driver{survey: admin.Survey{Host: "hostA", Store: "ok", Volumes: []admin.Volume{{Name: "v", State: "mounted", Mounts: 1}}},
		findings: []doctor.Finding{finding}}
	dir, _ := serve(t, d)
	client, ctx := admin.NewClient(dir), context.Background()

	survey, err := client.Volumes(ctx)
	require.NoError(t, err)
	assert.Equal(t, d.survey, survey)

	detail, err := client.Inspect(ctx, "v")
	require.NoError(t, err)
	assert.Equal(t, admin.Detail{Volume: admin.Volume{Name: "v"}, Containers: []string{"process 7"}}, detail)
	_, err = client.Inspect(ctx, "../a b")
	assert.EqualError(t, err, "no such volume: ../a b")

	removed, err := client.Remove(ctx, "v", 0)
	require.NoError(t, err)
	assert.Equal(t, []string{"v 0s", "1"}, []string{d.disposed, removed.ID})
	_, err = client.Remove(ctx, "w", admin.DefaultKeep)
	assert.EqualError(t, err, "in use; here", "one line")

	order := admin.Order{Reason: "dead", Force: true, From: "hostB", EvenIfAlive: true}
	taken, err := client.TakeOver(ctx, "v", order)
	require.NoError(t, err)
	assert.Equal(t, admin.Taken{Volume: "v", From: "hostB", FromEpoch: 1, Epoch: 2}, taken)
	assert.Equal(t, order, d.order)

	word := admin.GoneOrder{Reason: "dead", Volumes: []string{"v"}, Guarded: true}
	gone, err := client.Gone(ctx, "host/B", word)
	require.NoError(t, err)
	assert.Equal(t, admin.Gone{Host: "host/B", Taken: []admin.Taken{}, Left: []admin.Left{{Volume: "v", Error: "why"}}}, gone)
	assert.Equal(t, word, d.gone)

	report, err := client.Doctor(ctx)
	require.NoError(t, err)
	assert.Equal(t, admin.Report{Findings: []doctor.Finding{finding}}, report)
	report, err = client.Fix(ctx)
	require.NoError(t, err)
	assert.Equal(t, admin.Report{Repairs: []admin.Repair{{Finding: finding, Error: "busy"}}, Findings: []doctor.Finding{}}, report)
}

func TestBadRequests(t *testing.T) {
	d := &driver{}
	_, raw := serve(t, d)
	for _, row := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/volumes/v/takeover", `{"force":true}`, 400, "a takeover needs a reason, which is logged: give --reason TEXT"},
		{"POST", "/v1/volumes/v/takeover", `{"force":true,"reason":"  "}`, 400, "a takeover needs a reason, which is logged: give --reason TEXT"},
		{"POST", "/v1/volumes/v/takeover", `{"force":true,"reason":"a\nb"}`, 400, "the reason of a takeover is one line of at most 300 bytes"},
		{"POST", "/v1/volumes/v/takeover", `{"reason":"dead"}`, 400,
			"a takeover cannot be undone, and a holder that still writes would destroy data: make sure that it is down and give --force"},
		{"POST", "/v1/volumes/v/takeover", `{"reason":"dead","froce":true}`, 400,
			`order is unreadable (json: unknown field "froce"): use {"reason": "why", "force": true}`},
		{"POST", "/v1/volumes/v/takeover", ``, 400, `order is unreadable (EOF): use {"reason": "why", "force": true}`},
		{"POST", "/v1/hosts/h/gone", `{}`, 400, "a takeover needs a reason, which is logged: give --reason TEXT"},
		{"POST", "/v1/hosts/h/gone", `{"reason":"dead","force":true}`, 400, `order is unreadable (json: unknown field "force"): use {"reason": "why"}`},
		{"POST", "/v1/hosts/h/gone", `{"reason":"dead","guarded":true,"evenIfAlive":true}`, 400,
			"guarded and evenIfAlive exclude each other: the guard of a host that lives is not waited for"},
		{"GET", "/v1/volumes/nosuch", ``, 404, "no such volume: nosuch"},
		{"DELETE", "/v1/volumes/w", ``, 409, "in use; here"},
		{"GET", "/v2/volumes", ``, 404, "no resource for GET /v2/volumes"},
		{"POST", "/v1/volumes", ``, 404, "no resource for POST /v1/volumes"},
	} {
		r, err := http.NewRequest(row.method, "http://mooring"+row.path, strings.NewReader(row.body))
		require.NoError(t, err)
		answer, err := raw.Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, errors.Join(err, answer.Body.Close()))
		assert.Equal(t, row.status, answer.StatusCode, row.path+row.body)
		assert.JSONEq(t, fmt.Sprintf(`{"error":%q}`, row.want), string(body))
	}
	assert.Empty(t, d.order, "nothing was ordered")
	assert.Empty(t, d.gone, "nothing was ordered")
}

func TestProbes(t *testing.T) {
	d := &driver{}
	_, raw := serve(t, d)
	get := func(path string) (int, string) {
		answer, err := raw.Get("http://mooring" + path)
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, errors.Join(err, answer.Body.Close()))
		return answer.StatusCode, string(body)
	}
	status, body := get("/healthz")
	assert.Equal(t, []any{200, "ok\n"}, []any{status, body})
	d.health = errors.New("store missing")
	status, body = get("/healthz")
	assert.Equal(t, []any{503, "store missing\n"}, []any{status, body})

	status, body = get("/readyz")
	assert.Equal(t, []any{200, "ready\n"}, []any{status, body})
	d.ready = errors.New("drained")
	status, body = get("/readyz")
	assert.Equal(t, []any{503, "drained\n"}, []any{status, body})

	status, body = get("/metrics")
	assert.Equal(t, 200, status)
	var values []string
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "#") {
			values = append(values, strings.TrimSpace(line))
		}
	}
	assert.Equal(t, []string{"mooring_store_usable 1", "mooring_drained 0", `mooring_volumes{state="created"} 1`, `mooring_volumes{state="mounted"} 2`,
		"mooring_mounts 3", "mooring_leases_held 2", "mooring_heartbeat_age_seconds 1.500",
		"mooring_guard_present 1", "mooring_guard_independent 0", "mooring_fences_total 4", `mooring_takeovers_total{by="silence"} 5`, `mooring_takeovers_total{by="order"} 6`,
		"mooring_leases_lost_total 8", `mooring_calls_total{verb="Get",outcome="ok"} 7`,
		`mooring_calls_total{verb="Mount",outcome="ok"} 5`, `mooring_calls_total{verb="Mount",outcome="error"} 1`}, values)
}

func TestADriverThatDoesNotAnswer(t *testing.T) {
	state := t.TempDir()
	_, err := admin.NewClient(state).Volumes(context.Background())
	assert.EqualError(t, err, "no volume driver has its state in "+state+": start the plugin, or name its state directory by --state-dir")

	dir := filepath.Join(state, "mooring-host")
	require.NoError(t, os.Mkdir(dir, 0o700))
	l, err := admin.Listen(dir)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = admin.NewClient(state).Volumes(context.Background())
	assert.EqualError(t, err, "the volume driver is not running: nobody answers at "+filepath.Join(dir, admin.Socket))
}

// An order that takes long says how far it is, and ends with its caller.
func TestOrdersThatTakeLong(t *testing.T) {
	dir, raw := serve(t, &driver{})
	client := admin.NewClient(dir)
	for from, want := range map[string]struct {
		said []string
		err  string
	}{
		"quick": {}, "refused": {nil, "in use"}, "slow": {[]string{"1 %", "2 %"}, ""}, "broken": {[]string{"1 %", "2 %"}, "no space"},
	} {
		var said []string
		made, err := client.Clone(context.Background(), "w", admin.CloneOrder{From: from}, func(text string) { said = append(said, text) })
		assert.Equal(t, want.said, said, from)
		if want.err == "" {
			require.NoError(t, err, from)
			assert.Equal(t, "w", made.Name)
		} else {
			assert.EqualError(t, err, want.err)
		}
	}
	ctx, leave := context.WithCancel(context.Background())
	_, err := client.Clone(ctx, "w", admin.CloneOrder{From: "endless"}, func(string) { leave() })
	assert.ErrorIs(t, err, context.Canceled)

	answer, err := raw.Post("http://mooring/v1/volumes/w/clone", "", strings.NewReader(`{"form":"x"}`))
	require.NoError(t, err)
	defer answer.Body.Close()
	assert.Equal(t, http.StatusBadRequest, answer.StatusCode)
}
