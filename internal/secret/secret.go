// Package secret reads secrets from files. They are read anew each time, so that they can be changed under a running program, and
// no error shows them.
package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	limit     = 64 << 10 // bytes
	forOthers = 0o006    // reading and writing by everybody on the machine
)

// Read returns what a file holds, without the white space around it. A file that everybody on the machine may read or change is
// refused: it is no secret.
func Read(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	info, err := f.Stat() // of what is read, whatever the name leads to in a moment
	switch {
	case err != nil:
		return "", fmt.Errorf("read secret: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("secret file %s is no file: it is read again and again, use one that stays", file)
	case info.Mode().Perm()&forOthers != 0:
		return "", fmt.Errorf("secret file %s is open to everybody on this machine (%s): chmod 600 %s", file, info.Mode().Perm(), file)
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	text := strings.TrimSpace(string(content))
	switch {
	case err != nil:
		return "", fmt.Errorf("read secret: %w", err)
	case len(content) > limit:
		return "", fmt.Errorf("secret file %s has more than %d bytes: is it the right one?", file, limit)
	case text == "":
		return "", fmt.Errorf("secret file %s is empty", file)
	}
	return text, nil
}

// ReadPair reads a user or principal and what goes with it, NAME:PASSWORD.
func ReadPair(file string) (name, password string, err error) {
	text, err := Read(file)
	if err != nil {
		return "", "", err
	}
	name, password, found := strings.Cut(text, ":")
	if !found || name == "" || password == "" || strings.ContainsAny(text, "\r\n") {
		return "", "", errors.New("secret file " + file + " is not of the form USER:PASSWORD, in one line")
	}
	return name, password, nil
}
