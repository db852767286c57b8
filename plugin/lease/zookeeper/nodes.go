package zookeeper

import (
	"errors"

	"github.com/go-zookeeper/zk"

	"mooring/internal/ensemble"
)

// content is a node's.
type content struct {
	data []byte
	stat zk.Stat
}

func (l *Leases) get(node string) (content, error) {
	return ensemble.Call(l.ensemble.Conn, func(c *zk.Conn) (content, error) {
		data, stat, err := c.Get(node)
		if err != nil {
			return content{}, err
		}
		return content{data, *stat}, nil
	})
}

func (l *Leases) set(node string, data []byte, version int32) (zk.Stat, error) {
	return ensemble.Call(l.ensemble.Conn, func(c *zk.Conn) (zk.Stat, error) {
		stat, err := c.Set(node, data, version)
		if err != nil {
			return zk.Stat{}, err
		}
		return *stat, nil
	})
}

func (l *Leases) create(node string, data []byte) error {
	_, err := ensemble.Call(l.ensemble.Conn, func(c *zk.Conn) (string, error) { return c.Create(node, data, 0, l.ensemble.ACL()) })
	return err
}

func (l *Leases) children(node string) ([]string, error) {
	return ensemble.Call(l.ensemble.Conn, func(c *zk.Conn) ([]string, error) {
		names, _, err := c.Children(node)
		return names, err
	})
}

// transact does all or nothing.
func (l *Leases) transact(ops ...any) error {
	_, err := ensemble.Call(l.ensemble.Conn, func(c *zk.Conn) ([]zk.MultiResponse, error) { return c.Multi(ops...) })
	return err
}

func ignore(what, err error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}
