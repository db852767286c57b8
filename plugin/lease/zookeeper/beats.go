package zookeeper

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"mooring/plugin/lease"
)

// Beat writes the heartbeat of a host, and returns the one it replaced. It is written over the version
// that was there: one that was delayed on its way and arrives after a later one changes nothing.
func (l *Leases) Beat(next lease.Heartbeat) (lease.Heartbeat, error) {
	l.beating.Lock()
	defer l.beating.Unlock()
	previous, err := l.beat(next.Stamped())
	if err != nil {
		delete(l.own, next.Host) // perhaps it was written
		return lease.Heartbeat{}, fmt.Errorf("write heartbeat: %w", err)
	}
	return previous, nil
}

func (l *Leases) beat(next lease.Heartbeat) (lease.Heartbeat, error) {
	data, err := json.Marshal(next)
	if err != nil {
		return lease.Heartbeat{}, err
	}
	for range attempts {
		before, known := l.own[next.Host]
		if !known {
			if before, err = l.lastBeat(next.Host); errors.Is(err, zk.ErrNoNode) {
				if err := l.create(l.host(next.Host), data); err != nil {
					return lease.Heartbeat{}, l.missing(err)
				}
				l.own[next.Host] = beat{next, 0}
				return lease.Heartbeat{}, nil
			} else if err != nil {
				return lease.Heartbeat{}, err
			}
		}
		stat, err := l.set(l.host(next.Host), data, before.version)
		if errors.Is(err, zk.ErrBadVersion) || errors.Is(err, zk.ErrNoNode) {
			delete(l.own, next.Host)
			continue
		}
		if err != nil {
			return lease.Heartbeat{}, err
		}
		l.own[next.Host] = beat{next, stat.Version}
		return before.Heartbeat, nil
	}
	return lease.Heartbeat{}, fmt.Errorf("another one is written under the name %s all the time: give each host its own HOST", next.Host)
}

// lastBeat is the heartbeat that is there. One that cannot be read counts as none.
func (l *Leases) lastBeat(host string) (beat, error) {
	found, err := l.get(l.host(host))
	if err != nil {
		return beat{}, err
	}
	var last beat
	_ = json.Unmarshal(found.data, &last.Heartbeat)
	last.version = found.stat.Version
	return last, nil
}

// ReadBeat reads a host's heartbeat, the zero one if it never had one. A server that has lost touch with the
// others goes on answering for a while with what it has, and a living host would seem to stand still. So an
// answer that is no news counts only after the ensemble has agreed on something, by this server too: then
// whatever was written before that is in the next answer.
func (l *Leases) ReadBeat(host string) (lease.Heartbeat, error) {
	found, err := l.get(l.host(host))
	if err == nil && !l.news(host, found) || errors.Is(err, zk.ErrNoNode) {
		if err := l.transact(&zk.CheckVersionRequest{Path: l.root, Version: -1}); err != nil {
			return lease.Heartbeat{}, fmt.Errorf("read heartbeat of host %s: %w", host, l.missing(err))
		}
		found, err = l.get(l.host(host))
	}
	if errors.Is(err, zk.ErrNoNode) {
		return lease.Heartbeat{}, nil
	}
	var beat lease.Heartbeat
	if err == nil {
		l.news(host, found)
		err = json.Unmarshal(found.data, &beat)
	}
	if err != nil {
		return lease.Heartbeat{}, fmt.Errorf("read heartbeat of host %s: %w", host, err)
	}
	return beat, nil
}

// news notes an answer, and tells whether it is another one than before.
func (l *Leases) news(host string, found content) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.seen[host]
	l.seen[host] = found.stat.Mzxid
	return found.stat.Mzxid > before
}

// Hosts lists the hosts that ever beat.
func (l *Leases) Hosts() ([]string, error) {
	hosts, err := l.children(l.root + "/hosts")
	if err != nil {
		return nil, fmt.Errorf("list hosts: %w", l.missing(err))
	}
	return hosts, nil
}

func (l *Leases) host(name string) string { return l.root + "/hosts/" + name }
