package coordinator

import "slices"

// wants is what could be done with offers.
type wants struct {
	now   int      // nodes that an offer could start or move now
	ever  bool     // one could be needed without a further event from outside, that is, once a backoff is over
	quiet []string // roles that no offer is needed to, while there are others
}

// askForOffers asks for offers when a node could use one, and asks for peace when none can.
func (t *turn) askForOffers() {
	if t.state.Subscribed.IsZero() {
		return
	}
	w := t.wanting()
	more := w.now > t.state.Wanting || slices.ContainsFunc(t.state.Quiet, w.loud)
	t.state.Wanting = w.now
	switch {
	case w.now > 0 && (more || t.state.Suppressed || t.now.Sub(t.state.Revived) >= reviveMost):
		t.state.Suppressed, t.state.Revived, t.state.Quiet = false, t.now, nil // of those that are quiet Mesos may have heard nothing
		if len(w.quiet) == 0 {
			t.do(Revive{})
			return
		}
		t.do(Revive{Roles: slices.DeleteFunc(slices.Clone(t.rules.Roles), w.hushed)})
		t.hush(w)
	case !w.ever && !t.state.Suppressed:
		t.state.Suppressed, t.state.Quiet = true, nil
		t.do(Suppress{})
	case w.ever && !t.state.Suppressed:
		t.hush(w)
	}
}

// hush asks for peace for the roles that are not needed.
func (t *turn) hush(w wants) {
	if len(w.quiet) > 0 && !slices.Equal(t.state.Quiet, w.quiet) {
		t.state.Quiet = w.quiet
		t.do(Suppress{Roles: w.quiet})
	}
}

func (w wants) hushed(role string) bool { return slices.Contains(w.quiet, role) }

func (w wants) loud(role string) bool { return !w.hushed(role) }

func (t *turn) wanting() wants {
	var w wants
	needed := map[string]bool{} // roles; "" is any
	wanted, rooms := t.state.Wanted(), t.state.rooms()
	for i := range t.state.Nodes {
		n := &t.state.Nodes[i]
		switch {
		case !wanted[i] || n.Held != "" || n.Phase == Claimed || n.Phase == Running:
		case n.Phase == Vacant && rooms[n.Group] <= 0:
		case t.group(*n) == nil: // nobody knows what it needs
		case t.now.Before(n.NotBefore):
			w.ever, needed[t.group(*n).Role] = true, true
		default:
			w.now, w.ever, needed[t.group(*n).Role] = w.now+1, true, true
		}
	}
	for _, id := range t.movable() {
		w.now, w.ever, needed[t.group(*t.state.node(id)).Role] = w.now+1, true, true
	}
	if w.ever && !needed[""] && len(t.rules.Roles) > 1 {
		w.quiet = slices.DeleteFunc(slices.Clone(t.rules.Roles), func(role string) bool { return needed[role] })
	}
	return w
}
