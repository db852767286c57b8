package coordinator_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"mooring/coordinator"
)

// The clock of a machine may be set, and that of the machine of the next scheduler may differ from it.
func TestAClockThatIsSetBackDelaysNothing(t *testing.T) {
	const back = -24 * time.Hour
	t.Run("what failed is tried again", func(t *testing.T) {
		s := newScript(t, 1).running(1)
		s.report(1, coordinator.Over, fault(coordinator.FaultAgent, "no such image"))
		s.after(back).tick()
		assert.Len(t, launches(s.after(time.Minute).offer("a1")), 1)
	})
	t.Run("offers are asked for", func(t *testing.T) {
		s := newScript(t, 1).running(1)
		s.report(1, coordinator.Over, fault(coordinator.FaultNone, ""))
		s.after(back).tick()
		assert.Len(t, of[coordinator.Revive](s.after(10*time.Second).tick()), 1)
	})
	t.Run("what was not heard of is asked after", func(t *testing.T) {
		s := newScript(t, 1).running(1)
		s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"})
		s.after(back).tick()
		assert.Len(t, of[coordinator.Reconcile](s.after(time.Minute).tick()), 1)
		s.report(1, coordinator.Alive)
		assert.Equal(t, []coordinator.Reconcile{{}}, of[coordinator.Reconcile](s.after(15*time.Minute).tick()))
	})
	t.Run("a kill is sent again", func(t *testing.T) {
		s := newScript(t, 1).running(1)
		s.play(coordinator.Order{At: s.now, Node: 1, Intent: coordinator.Restart})
		s.after(back).tick()
		assert.Len(t, of[coordinator.Kill](s.after(10*time.Second).tick()), 1)
	})
	t.Run("a node does not wait for its last agent", func(t *testing.T) {
		s := newScript(t, 1).running(1)
		s.report(1, coordinator.Over)
		s.after(back).tick()
		assert.Equal(t, []string{"1@a2/2"}, launches(s.after(time.Minute).offer("a2")))
	})
	t.Run("an agent is set aside no longer", func(t *testing.T) {
		s := newScript(t, 3)
		for id := coordinator.NodeID(1); id <= 3; id++ {
			assert.NotEmpty(t, launches(s.after(time.Minute).offer("bad")))
			s.report(id, coordinator.Over, fault(coordinator.FaultAgent, ""))
			s.state.Nodes[id-1].NotBefore = s.now.Add(time.Hour) // let the next ID have its turn
		}
		s.after(back).tick()
		assert.NotEmpty(t, launches(s.after(31*time.Minute).offer("bad")))
	})
	t.Run("a teardown is sent again", func(t *testing.T) {
		s := newScript(t, 1)
		s.play(coordinator.Uninstall{At: s.now})
		s.after(back).tick()
		assert.Len(t, of[coordinator.Teardown](s.after(10*time.Second).tick()), 1)
	})
	t.Run("with the next scheduler, too", func(t *testing.T) {
		s := newScript(t, 1).running(1)
		s.play(coordinator.Order{At: s.now, Node: 1, Intent: coordinator.Restart})
		s.after(back).play(coordinator.Subscribed{At: s.now, FrameworkID: "f1"})
		assert.Len(t, of[coordinator.Kill](s.after(10*time.Second).tick()), 1)
	})
	t.Run("and what did not pass, did not pass", func(t *testing.T) {
		s := newScript(t, 1).running(1)
		s.report(1, coordinator.Over, fault(coordinator.FaultNode, ""))
		before := s.state
		s.tick()
		assert.Equal(t, before.Nodes, s.state.Nodes)
	})
}

// times calls do for every time in a value, with the name of its field; nil pointers, empty slices and maps get one element.
func times(v reflect.Value, name string, do func(name string, at *time.Time)) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		do(name, v.Addr().Interface().(*time.Time))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			times(v.Field(i), v.Type().Name()+"."+v.Type().Field(i).Name, do)
		}
	case v.Kind() == reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		times(v.Index(0), name, do)
	case v.Kind() == reflect.Map:
		key, element := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if v.Len() > 0 {
			element.Set(v.MapIndex(key))
		} else {
			v.Set(reflect.MakeMap(v.Type()))
		}
		times(element, name, do)
		v.SetMapIndex(key, element)
	}
}

// Whoever adds a time to the state has to say what becomes of it.
func TestNoTimeOfTheStateIsLeftAheadOfTheClock(t *testing.T) {
	s := newScript(t, 1)
	times(reflect.ValueOf(&s.state).Elem(), "State", func(_ string, at *time.Time) { *at = s.now.Add(24 * time.Hour) })
	s.state.Nodes[0].ID = 1
	s.tick()
	given := map[string]bool{"Window.Start": true, "Window.End": true} // by an operator
	times(reflect.ValueOf(&s.state).Elem(), "State", func(name string, at *time.Time) {
		assert.True(t, given[name] || at.Before(s.now.Add(time.Hour)), "%s is at %s", name, at)
	})
}
