package plugin

import (
	"context"
	"sync"
)

// locks is one lock for each volume name in use. Waiting for one ends with the context, because the
// one who has it may be waiting for storage that does not answer.
type locks struct {
	mu     sync.Mutex
	byName map[string]*nameLock
}

type nameLock struct {
	held  chan struct{} // holds one value while locked
	users int           // how many hold it or wait for it
}

// lock returns how to unlock.
func (l *locks) lock(ctx context.Context, name string) (func(), error) {
	n := l.enter(name)
	select {
	case n.held <- struct{}{}:
		return func() { <-n.held; l.leave(name) }, nil
	case <-ctx.Done():
		l.leave(name)
		return nil, ctx.Err()
	}
}

// try locks only if nobody has the lock.
func (l *locks) try(name string) (unlock func(), ok bool) {
	n := l.enter(name)
	select {
	case n.held <- struct{}{}:
		return func() { <-n.held; l.leave(name) }, true
	default:
		l.leave(name)
		return nil, false
	}
}

func (l *locks) enter(name string) *nameLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byName == nil {
		l.byName = map[string]*nameLock{}
	}
	n, ok := l.byName[name]
	if !ok {
		n = &nameLock{held: make(chan struct{}, 1)}
		l.byName[name] = n
	}
	n.users++
	return n
}

func (l *locks) leave(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.byName[name]
	n.users--
	if n.users == 0 {
		delete(l.byName, name)
	}
}
