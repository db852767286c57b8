// Package recordio reads and writes the framing of Mesos' event streams: the length of a record in decimal, a line feed, that
// many bytes, and so on. Borders of HTTP chunks mean nothing in it (Mesos 1.11, docs/recordio.md).
package recordio

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const maxLengthDigits = 20 // of a uint64 in decimal

// Reader reads records from a stream.
type Reader struct {
	stream *bufio.Reader
	limit  int
}

// NewReader returns a Reader that refuses records of more than limit bytes.
func NewReader(stream io.Reader, limit int) *Reader {
	return &Reader{stream: bufio.NewReaderSize(stream, 64<<10), limit: limit}
}

// Next returns the next record. It returns io.EOF at an end between records and io.ErrUnexpectedEOF at an end within one.
func (r *Reader) Next() ([]byte, error) {
	length, err := r.length()
	if err != nil {
		return nil, err
	}
	record := make([]byte, length)
	if _, err := io.ReadFull(r.stream, record); err != nil {
		return nil, fmt.Errorf("read record of %d bytes: %w", length, noEOF(err))
	}
	return record, nil
}

// length reads the length line, passing over empty lines before it.
func (r *Reader) length() (int, error) {
	var digits strings.Builder
	for {
		c, err := r.stream.ReadByte()
		switch {
		case err != nil && digits.Len() == 0:
			return 0, err
		case err != nil:
			return 0, fmt.Errorf("read record length: %w", noEOF(err))
		case c == '\n' && digits.Len() == 0:
			continue
		case c == '\n':
			return r.check(digits.String())
		case digits.Len() == maxLengthDigits:
			return 0, fmt.Errorf("record length %q… is too long for a number", digits.String())
		}
		digits.WriteByte(c)
	}
}

func (r *Reader) check(digits string) (int, error) {
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("record length %q is no number: %w", digits, err)
	}
	if n > uint64(r.limit) {
		return 0, fmt.Errorf("record of %d bytes is over the limit of %d", n, r.limit)
	}
	return int(n), nil
}

// noEOF makes an end in the middle of something look like one.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Append adds a record to a buffer.
func Append(buffer, record []byte) []byte {
	buffer = strconv.AppendInt(buffer, int64(len(record)), 10)
	buffer = append(buffer, '\n')
	return append(buffer, record...)
}
