package coordinator

import "time"

// Removal is how far an operator's order to uninstall the framework has come. There is no way back but to install it anew.
type Removal string

// The stages of a removal. Each is durable before what it allows is done, so that whoever leads next goes on from there.
const (
	Installed   Removal = ""             // nobody ordered it
	Stopping    Removal = "stopping"     // nodes are stopped, and none is launched any more
	TearingDown Removal = "tearing down" // no node runs: Mesos is told to forget the framework
	Uninstalled Removal = "uninstalled"  // Mesos has forgotten the framework
)

// Uninstall has all nodes stopped, then the framework forgotten by Mesos. Their volumes are not touched.
type Uninstall struct{ At time.Time }

// Removed says that Mesos no longer knows the framework.
type Removed struct{ At time.Time }

// Teardown has Mesos forget the framework.
type Teardown struct{}

func (Uninstall) event() {}
func (Removed) event()   {}
func (Teardown) action() {}

func (t *turn) uninstall() {
	if t.state.Removal == Installed {
		t.remove(Stopping)
	}
}

// removed ends a removal. Whoever had Mesos forget the framework otherwise has to decide what comes next.
func (t *turn) removed() {
	if t.state.Removal != Installed {
		t.remove(Uninstalled)
	}
}

func (t *turn) remove(r Removal) {
	if t.state.Removal != r {
		t.state.Removal, t.state.Removing = r, t.now
	}
}

// tearDown goes on with a removal. Mesos must not forget the framework before every node is over: nobody would tell of a node
// that runs on, on an agent that Mesos has lost.
func (t *turn) tearDown() {
	switch {
	case t.state.Removal == Installed || t.state.Removal == Uninstalled:
	case t.state.Launched() > 0:
		t.remove(Stopping)
	case t.state.Subscribed.IsZero(): // there is nobody to tell
	case t.state.Removal == Stopping || t.now.Sub(t.state.TornDown) >= killEvery:
		t.remove(TearingDown)
		t.state.TornDown = t.now
		t.do(Teardown{})
	}
}
