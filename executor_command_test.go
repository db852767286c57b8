package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/admin"
)

// cautiousDriver leaves a volume to its holder.
type cautiousDriver struct {
	scriptedDriver
	order admin.GoneOrder
}

func (d *cautiousDriver) Gone(_ context.Context, host string, order admin.GoneOrder) (admin.Gone, error) {
	d.order = order
	return admin.Gone{Host: host, Taken: []admin.Taken{{Volume: "es1config"}}, Left: []admin.Left{{Volume: "es1data", Error: "unattended"}}}, nil
}

func TestExecutorsShortenTheWaitAndNoMore(t *testing.T) {
	state, driver := t.TempDir(), &cautiousDriver{}
	serveAdmin(t, state, driver)
	d := volumeDriver{admin.NewClient(state)}
	host, sizes, err := d.About(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "hostA", host)
	assert.EqualValues(t, 100<<30, sizes["es1data"])
	err = d.Gone(t.Context(), "hostB", "Mesos says so", []string{"es1config", "es1data"})
	require.EqualError(t, err, "unattended")
	assert.Equal(t, admin.GoneOrder{Reason: "Mesos says so", Volumes: []string{"es1config", "es1data"}, Guarded: true}, driver.order)
}

// serveAdmin answers below a state directory until the test ends.
func serveAdmin(t *testing.T, state string, driver admin.Driver) {
	t.Helper()
	dir := filepath.Join(state, "mooring-host")
	require.NoError(t, os.Mkdir(dir, 0o700))
	l, err := admin.Listen(dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- admin.Serve(ctx, l, admin.Handler(driver, nil)) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })
}
