package faultfs

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Operation is what can be held.
type Operation string

// The operations. What a loop device does is the kernel's.
const (
	Mkdir    Operation = "mkdir"
	Create   Operation = "create"
	Open     Operation = "open"
	Link     Operation = "link"     // by its new name
	Rename   Operation = "rename"   // by its new name
	Write    Operation = "write"    // by a process
	KernelIO Operation = "kernelio" // read, write or sync by the kernel
)

var operationNames = []Operation{Mkdir, Create, Open, Link, Rename, Write, KernelIO}

// Hold stops a program in the middle of a step: the first operation that it fits waits until Release, or until its caller is
// killed; all others pass. Meanwhile the kernel keeps the directories locked in which a name is made.
type Hold struct {
	Operation Operation
	Path      string // below the directory, as path.Match takes it, without spaces
	After     bool   // the operation is carried out at once, and its answer waits
}

// String renders the hold as ParseHold takes it.
func (h Hold) String() string {
	when := "before"
	if h.After {
		when = "after"
	}
	return fmt.Sprintf("%s %s %s", when, h.Operation, h.Path)
}

// ParseHold reads what String makes.
func ParseHold(text string) (Hold, error) {
	words := strings.Fields(text)
	if len(words) != 3 || words[0] != "before" && words[0] != "after" || !slices.Contains(operationNames, Operation(words[1])) {
		return Hold{}, fmt.Errorf("hold %q is not before or after, one of %v, and a path", text, operationNames)
	}
	if _, err := path.Match(words[2], ""); err != nil {
		return Hold{}, fmt.Errorf("path %q of a hold: %w", words[2], err)
	}
	return Hold{Operation: Operation(words[1]), Path: words[2], After: words[0] == "after"}, nil
}

// holds are those that wait for their operation, and those that have found it.
type holds struct {
	mu       sync.Mutex
	held     map[Hold]bool
	released chan struct{}
	names    map[uint64]string // of nodes, by the name under which they were last seen
}

func newHolds() *holds {
	return &holds{held: map[Hold]bool{}, released: make(chan struct{}), names: map[uint64]string{}}
}

func (h *holds) add(hold Hold) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[hold] = false
}

func (h *holds) has(hold Hold) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[hold]
}

func (h *holds) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = map[Hold]bool{}
	close(h.released)
	h.released = make(chan struct{})
}

// find takes the hold that an operation is the first to fit.
func (h *holds) find(o Operation, name string) (Hold, <-chan struct{}, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, hold := range slices.Collect(maps.Keys(h.held)) {
		if fits, _ := path.Match(hold.Path, name); fits && hold.Operation == o && !h.held[hold] {
			h.held[hold] = true
			return hold, h.released, true
		}
	}
	return Hold{}, nil, false
}

// see notes the name of a node.
func (h *holds) see(node, parent uint64, name string, status fuse.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if status.Ok() && node != 0 {
		h.names[node] = path.Join(h.names[parent], name)
	}
}

func (h *holds) name(node uint64, below ...string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return path.Join(append([]string{h.names[node]}, below...)...)
}

// around carries out an operation, with the wait that a hold asks for before or after it.
func (h *holds) around(cancel <-chan struct{}, caller uint32, o Operation, name string, do func() fuse.Status) fuse.Status {
	hold, released, found := h.find(o, name)
	if !found {
		return do()
	}
	r := request{caller: caller, cancel: cancel}
	if !hold.After && !r.hang(released) {
		return fuse.EINTR
	}
	status := do()
	if hold.After {
		r.hang(released)
	}
	return status
}

// access is what reading and writing a file is, by who does it.
func access(caller uint32, o Operation) Operation {
	if caller == 0 {
		return KernelIO
	}
	return o
}
