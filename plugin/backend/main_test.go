package backend_test

import (
	"os"
	"testing"

	"mooring/plugin/mounts/mountstest"
)

func TestMain(m *testing.M) {
	mountstest.Private()
	os.Exit(m.Run())
}
