package guard

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// server answers at a guard's socket.
type server struct {
	guard       *Guard
	lock        *os.File
	independent bool
	notes       []string
	log         hclog.Logger
	end         func() // ends the process

	mu      sync.Mutex
	callers map[*net.UnixConn]bool
	alone   time.Time // since when nobody is connected
}

// serve answers until the listener is closed.
func (s *server) serve(l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("connection not accepted", "error", err)
			time.Sleep(answerTime) // out of descriptors, perhaps
			continue
		}
		go s.attend(conn)
	}
}

// attend answers one caller after the other's request. The process's end does not wait for it.
func (s *server) attend(conn *net.UnixConn) {
	s.count(conn, true)
	defer s.count(conn, false)
	defer conn.Close()
	replaced := false // by the caller, unless it goes away before it has beaten
	defer func() {
		if replaced {
			s.guard.thaw()
		}
	}()
	requests := bufio.NewReader(conn)
	for {
		data, err := requests.ReadBytes('\n')
		if err != nil {
			return
		}
		var r request
		if err := json.Unmarshal(data, &r); err != nil {
			s.log.Warn("request not understood", "error", err)
			return
		}
		if r.Verb == beaten && replaced {
			s.log.Info("replaced by a new guard")
			s.end()
			return
		}
		err = s.obey(r)
		replaced = replaced || r.Verb == handOver && err == nil
		err = s.answer(conn, r, err)
		if r.Verb == leave && s.guard.Idle() {
			s.log.Info("ended by the plugin")
			s.end()
		}
		if err != nil {
			s.log.Warn("request not answered", "verb", r.Verb, "error", err)
			return
		}
	}
}

// answer reports how obeying a request went.
func (s *server) answer(conn *net.UnixConn, r request, refused error) error {
	a := answer{Status: s.status()}
	if refused != nil {
		a.Error = refused.Error()
	}
	a.Status.Leaving = r.Verb == leave && s.guard.Idle()
	if r.Verb == handOver {
		a.Status.Volumes = s.guard.Volumes()
	}
	data, err := line(a)
	if err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	if r.Verb == handOver && refused == nil {
		return sendFile(conn, data, s.lock)
	}
	_, err = conn.Write(data)
	return err
}

func (s *server) obey(r request) error {
	switch r.Verb {
	case askStatus, leave: // leaving comes after the answer
	case watch:
		return s.guard.Watch(r.Volume)
	case resume:
		return s.guard.Resume(r.Volume)
	case forget:
		s.guard.Forget(r.Volume.Name)
	case acknowledge:
		s.guard.Acknowledge(r.Volume.Name)
	case handOver:
		return s.guard.freeze()
	default:
		return fmt.Errorf("this guard does not know the verb %q", r.Verb)
	}
	return nil
}

func (s *server) status() Status {
	status := s.guard.Status()
	status.PID, status.Independent, status.Notes = os.Getpid(), s.independent, s.notes
	return status
}

func (s *server) count(conn *net.UnixConn, here bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if here {
		s.callers[conn] = true
	} else {
		delete(s.callers, conn)
	}
	s.alone = time.Now()
}

// forgotten tells whether nobody has been connected for a while.
func (s *server) forgotten(while time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.callers) == 0 && time.Since(s.alone) > while
}
