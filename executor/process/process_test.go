package process_test

import (
	"testing"

	"go.uber.org/goleak"

	"mooring/coordinator"
	"mooring/executor"
	"mooring/executor/process"
	"mooring/executor/runtimetest"

	"github.com/stretchr/testify/require"
)

func TestContract(t *testing.T) {
	defer goleak.VerifyNone(t)
	runtimetest.Contract(t, &process.Runtime{Binary: runtimetest.BuildStub(t)}, coordinator.Settings{})
}

func TestMissingBinary(t *testing.T) {
	runtime := &process.Runtime{Binary: "/no/such/mooring"}
	_, err := runtime.Start(t.Context(), executor.Spec{Name: "mooring-es-1"})
	require.ErrorContains(t, err, "start mooring-es-1: ")
	_, ok, err := runtime.Find(t.Context(), "mooring-es-1")
	require.NoError(t, err)
	require.False(t, ok)
}
