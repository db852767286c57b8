package runtimetest_test

import (
	"testing"

	"mooring/coordinator"
	"mooring/executor/runtimetest"
)

func TestFakeKeepsTheContract(t *testing.T) {
	runtimetest.Contract(t, &runtimetest.Fake{}, coordinator.Settings{})
}
