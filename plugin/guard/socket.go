package guard

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// answerTime is how long a guard may take to answer: it never waits for anything.
const answerTime = 2 * time.Second

// at calls use with a name of a file in dir that is short enough for the address of a socket.
func at[T any](dir, file string, use func(path string) (T, error)) (T, error) {
	d, err := os.Open(dir)
	if err != nil {
		var none T
		return none, err
	}
	defer d.Close()
	return use(filepath.Join("/proc/self/fd", strconv.Itoa(int(d.Fd())), file))
}

// listen opens the guard's socket in place of the one of an earlier guard.
func listen(dir string) (*net.UnixListener, error) {
	return at(dir, socketFile, func(path string) (*net.UnixListener, error) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("remove old socket: %w", err)
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		l.SetUnlinkOnClose(false) // by then it may be the next guard's
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, errors.Join(fmt.Errorf("protect socket: %w", err), l.Close())
		}
		return l, nil
	})
}

// hungUp tells whether nobody is at the other end, or not any more.
func hungUp(err error) bool {
	return slices.ContainsFunc([]error{io.EOF, os.ErrNotExist, unix.ECONNREFUSED, unix.ECONNRESET, unix.EPIPE},
		func(sign error) bool { return errors.Is(err, sign) })
}

// link is a connection to a guard.
type link struct {
	conn   *net.UnixConn
	reader *bufio.Reader
}

func dial(dir string) (*link, error) {
	conn, err := at(dir, socketFile, func(path string) (*net.UnixConn, error) {
		return net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	})
	if err != nil {
		return nil, fmt.Errorf("reach the guard: %w", err)
	}
	return &link{conn, bufio.NewReader(conn)}, nil
}

func (l *link) send(r request) error {
	data, err := line(r)
	if err != nil {
		return err
	}
	if err := l.conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	_, err = l.conn.Write(data)
	return err
}

// ask sends a request and returns the answer. A refusal is an error of its own kind.
func (l *link) ask(r request) (Status, error) {
	if err := l.send(r); err != nil {
		return Status{}, fmt.Errorf("ask the guard: %w", err)
	}
	return l.receive()
}

func (l *link) receive() (Status, error) {
	data, err := l.reader.ReadBytes('\n')
	if err != nil {
		return Status{}, fmt.Errorf("hear the guard: %w", err)
	}
	var a answer
	if err := json.Unmarshal(data, &a); err != nil {
		return Status{}, fmt.Errorf("understand the guard: %w", err)
	}
	if a.Error != "" {
		return a.Status, refusal(a.Error)
	}
	return a.Status, nil
}

// refusal is what a guard answers instead of obeying.
type refusal string

func (r refusal) Error() string { return string(r) }

// sendFile sends data with an open file attached to its first byte.
func sendFile(conn *net.UnixConn, data []byte, file *os.File) error {
	n, _, err := conn.WriteMsgUnix(data, unix.UnixRights(int(file.Fd())), nil)
	if err != nil {
		return err
	}
	_, err = conn.Write(data[n:])
	return err
}

// receiveFile takes the file that comes with the next answer; the answer is left to be received.
func (l *link) receiveFile() (*os.File, error) {
	data, rights := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := l.conn.ReadMsgUnix(data, rights)
	if err != nil {
		return nil, fmt.Errorf("hear the guard: %w", err)
	}
	l.reader = bufio.NewReader(io.MultiReader(bytes.NewReader(data[:n]), l.conn))
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("the guard did not hand its lock over"), err)
	}
	files, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(files) != 1 {
		return nil, errors.Join(errors.New("the guard did not hand its lock over"), err)
	}
	unix.CloseOnExec(files[0])
	return os.NewFile(uintptr(files[0]), lockFile), nil
}

// listener is the process at the other end, 0 if the kernel does not say.
func (l *link) listener() int {
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(peer.Pid)
		}
	})
	return pid
}
