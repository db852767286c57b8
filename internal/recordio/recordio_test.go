package recordio_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/internal/recordio"
)

const limit = 1 << 10

func TestRecordsComeBackWhateverTheChunks(t *testing.T) {
	want := [][]byte{[]byte("a"), []byte("two\nlines"), bytes.Repeat([]byte("x"), limit)}
	var stream []byte
	for _, record := range want {
		stream = recordio.Append(stream, record)
	}
	for name, source := range map[string]io.Reader{
		"whole":          bytes.NewReader(stream),
		"byte by byte":   iotest.OneByteReader(bytes.NewReader(stream)),
		"data with EOF":  iotest.DataErrReader(bytes.NewReader(stream)),
		"blank lines":    io.MultiReader(strings.NewReader("\n\n"), bytes.NewReader(stream)),
		"halved buffers": iotest.HalfReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			reader := recordio.NewReader(source, limit)
			for _, record := range want {
				got, err := reader.Next()
				require.NoError(t, err)
				assert.Equal(t, record, got)
			}
			_, err := reader.Next()
			assert.Equal(t, io.EOF, err)
		})
	}
}

func TestBrokenStreams(t *testing.T) {
	for name, c := range map[string]struct{ stream, says string }{
		"ends in the length": {"12", "read record length: unexpected EOF"},
		"ends in the record": {"5\nabc", "read record of 5 bytes: unexpected EOF"},
		"ends before it":     {"5\n", "read record of 5 bytes: unexpected EOF"},
		"no number":          {"{\"type\"\n", `record length "{\"type\"" is no number`},
		"negative":           {"-1\n", `record length "-1" is no number`},
		"over the limit":     {"1025\n", "record of 1025 bytes is over the limit of 1024"},
		"endless length":     {strings.Repeat("1", 40), "is too long for a number"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := recordio.NewReader(strings.NewReader(c.stream), limit).Next()
			assert.ErrorContains(t, err, c.says)
		})
	}
}

func FuzzReaderNeverReturnsMoreThanItsLimit(f *testing.F) {
	f.Add([]byte("3\nabc2\nxy"))
	f.Add([]byte("\n\n99999999999999999999\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		reader := recordio.NewReader(bytes.NewReader(stream), limit)
		for {
			record, err := reader.Next()
			if err != nil {
				return
			}
			require.LessOrEqual(t, len(record), limit)
		}
	})
}
