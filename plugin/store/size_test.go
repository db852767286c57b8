package store_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring/plugin/store"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]store.Size{
		"512m": 512 << 20, "10g": 10 << 30, "10G": 10 << 30, "10gb": 10 << 30, "10GiB": 10 << 30, "2t": 2 << 40, "4k": 4096, "0g": 0,
	} {
		var s store.Size
		assert.NoError(t, s.UnmarshalText([]byte(text)), text)
		assert.Equal(t, want, s, text)
	}
	for _, text := range []string{"", "10", "g", "-1g", "1.5g", "10x", "10 g", "10gg"} {
		var s store.Size
		assert.ErrorContains(t, s.UnmarshalText([]byte(text)), "is not a number with a unit such as 512m, 10g or 1t", text)
	}
	for _, text := range []string{"8388608t", "99999999999999999999k"} {
		var s store.Size
		assert.ErrorContains(t, s.UnmarshalText([]byte(text)), "is too large", text)
	}
	for want, s := range map[string]store.Size{"10GiB": 10 << 30, "1536MiB": 3 << 29, "5KiB": 5120, "1TiB": 1 << 40, "0": 0} {
		assert.Equal(t, want, s.String())
	}
}
