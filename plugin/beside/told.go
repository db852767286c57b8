package beside

import "bytes"

// told is what a program is told, over the looks at it.
type told struct {
	known   bool // there was something to tell
	inForce []byte
	last    []byte // what the last look showed
	looked  bool
}

// look asks for what the program is to be told, and tells whether that is something new. A change counts when two looks have shown the
// same: an editor may be at work. The first look counts at once.
func (t *told) look(input func() ([]byte, error)) (changed bool, err error) {
	now, err := input()
	if err != nil {
		t.looked, t.last = true, nil
		return false, err
	}
	settled := !t.looked || bytes.Equal(now, t.last)
	t.looked, t.last = true, now
	if !settled || t.known && bytes.Equal(now, t.inForce) {
		return false, nil
	}
	t.known, t.inForce = true, now
	return true, nil
}
