package executor

import (
	"context"
	"strconv"
)

// sweep removes what other nodes of the framework left on this host: containers that ended when no executor of theirs was there to
// remove them, with the whole host or later than their executor. Nothing depends on it, so what goes wrong is only logged. One that has
// an executor and ended in this moment is removed by whoever is first.
//
// The Engine could remove them by itself (AutoRemove), but before Docker 24.0.8 it then also ends containers that live through its own
// restart (live-restore).
func (l *life) sweep(ctx context.Context) {
	left, err := l.runtime.Ended(ctx, map[string]string{labelFramework: l.task.Framework})
	if err != nil {
		l.log.Info("what earlier launches left is not looked for", "error", err)
		return
	}
	for _, c := range left {
		node := c.Labels[labelNode]
		if node == strconv.Itoa(int(l.task.Node)) {
			continue // begin and end see to these
		}
		if err := l.runtime.Remove(ctx, c.ID); err != nil {
			l.log.Info("container of an earlier launch of another node not removed", "container", c.ID, "other", node, "error", err)
			continue
		}
		l.log.Info("container of an earlier launch of another node removed", "container", c.ID, "other", node, "launch", c.Labels[labelEpoch])
	}
}
