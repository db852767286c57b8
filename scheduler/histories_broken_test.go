package scheduler_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler"
)

// The random histories are good for something only if they notice what is broken: here a store that says it saved and did not.
func TestRandomHistoriesNoticeAStoreThatForgets(t *testing.T) {
	for name, forgets := range map[string]func(before, after coordinator.State) bool{
		"the number of nodes": func(before, after coordinator.State) bool { return before.Target != after.Target },
		"launches": func(before, after coordinator.State) bool {
			for i, n := range before.Nodes {
				if after.Nodes[i].Epoch > n.Epoch {
					return true
				}
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newMishaps(t, 0)
			h.between = func(s scheduler.Store) scheduler.Store { return forgetful{s, forgets} }
			h.start()
			for range 100 {
				if h.befall(); len(h.wrongs()) > 0 {
					t.Log(h.wrongs()[0])
					return
				}
			}
			require.Fail(t, "nothing was noticed")
		})
	}
}

// forgetful does not save what it is to forget, and says that it did.
type forgetful struct {
	scheduler.Store
	forgets func(before, after coordinator.State) bool
}

func (f forgetful) Save(ctx context.Context, before, after coordinator.State) error {
	if f.forgets(before, after) {
		return nil
	}
	return f.Store.Save(ctx, before, after)
}
