package coordinator

// tick does what is due.
func (t *turn) tick() {
	t.mendTimes()
	if t.state.Subscribed.IsZero() {
		return
	}
	t.ask(t.silent)
	t.askUnready()
	if t.now.Sub(t.state.Listed) >= listEvery {
		t.list()
		t.announce(t.state.seeds(), true)
	}
	t.forgetNotices()
	t.forgetSilences()
	for id, a := range t.state.Agents {
		if t.now.Sub(a.NotBefore) >= longRun {
			delete(t.state.Agents, id)
		}
	}
}

// askUnready asks the executors of nodes that are not in their cluster, as far as is known, again and again: they tell what changes
// by themselves, but a question may have got lost.
func (t *turn) askUnready() {
	var seeds []string
	for i := range t.state.Nodes {
		if n := &t.state.Nodes[i]; n.Phase == Running && !n.Ready && t.now.Sub(n.Asked) >= askMost && t.now.Sub(n.Since) >= askMost {
			if seeds == nil {
				seeds = t.state.seeds()
			}
			n.Asked = t.now
			t.tell(*n, seeds, true)
		}
	}
}

// silent reports whether it is time to ask after a node: one not heard of since the subscription, one whose launch was not
// answered, or a lost one, whose agent may have come back without a word (Mesos 1.11 sends no update for the old tasks of a
// host that returns as new).
func (t *turn) silent(n Node) bool {
	if n.Settled && n.Phase == Running {
		return false
	}
	wait := askMost
	if !n.Settled {
		wait = min(max(t.now.Sub(t.state.Subscribed)/2, askFirst), askMost)
	}
	return t.now.Sub(n.Asked) >= wait && t.now.Sub(n.Since) >= askFirst
}

// ask reconciles the nodes that may run and that due says yes to.
func (t *turn) ask(due func(Node) bool) {
	var tasks []TaskRef
	for i := range t.state.Nodes {
		n := &t.state.Nodes[i]
		if n.Phase != Vacant && due(*n) {
			n.Asked = t.now
			tasks = append(tasks, t.task(*n))
		}
	}
	if len(tasks) > 0 {
		t.do(Reconcile{Tasks: tasks})
	}
}

// askForHolder asks after the launch that had the volumes, when they are held elsewhere: Mesos may know by now that its agent
// is gone for good.
func (t *turn) askForHolder(n Node) {
	if h := n.Holder; h.Agent != "" && h.Epoch != n.Epoch && !h.Gone {
		t.do(Reconcile{Tasks: []TaskRef{{Task: TaskID(t.state.Framework, n.ID, h.Epoch), Agent: h.Agent}}})
	}
}

// list asks for all tasks that Mesos knows of, which also brings to light those that the state does not.
func (t *turn) list() {
	t.state.Listed = t.now
	t.do(Reconcile{})
}

// stopUnwanted kills what should not run, again and again until it is over.
func (t *turn) stopUnwanted() {
	wanted := t.state.Wanted()
	next := t.restartable(wanted)
	for i := range t.state.Nodes {
		n := &t.state.Nodes[i]
		restart := n.Intent == Restart && (n.ID == next || !n.Due())
		if !wanted[i] || restart || n.Intent == Move || n.Held != "" {
			t.stop(n)
		}
	}
}

// Due tells whether a node is to be restarted that does its part, so that the right moment is waited for. With the first kill it
// has come.
func (n Node) Due() bool {
	return n.Intent == Restart && n.Phase == Running && n.Ready && n.Killed.IsZero()
}

// restartable is the first node whose restart is due, if all others and the cluster are well; 0: none may be restarted.
func (t *turn) restartable(wanted []bool) NodeID {
	for i := range t.state.Nodes {
		if n := &t.state.Nodes[i]; n.Intent == Restart && wanted[i] && n.Due() { // asked in every step: copies would add up
			if t.state.Waits(*n, t.now) != "" {
				return 0
			}
			return n.ID
		}
	}
	return 0
}

// stop kills a node, if it may run and was not told so lately.
func (t *turn) stop(n *Node) {
	if n.Phase == Vacant || n.AgentGone || t.killedLately(n) {
		return
	}
	n.Killed = t.now
	t.kill(t.task(*n))
}

// killedLately tells whether a kill may be on its way. One from before the subscription may never have been sent.
func (t *turn) killedLately(n *Node) bool {
	return t.now.Sub(n.Killed) < killEvery && !n.Killed.Before(t.state.Subscribed)
}
