package main

import (
	"errors"
	"fmt"
	"os"

	"mooring/scheduler/groups"
)

// readGroups reads the file of --groups, if there is one, and sees that a cluster can come of all groups.
func (c *schedulerCommand) readGroups() error {
	c.groups = nil
	if c.Groups != "" {
		text, err := os.ReadFile(c.Groups)
		if err != nil {
			return fmt.Errorf("groups: %w", err)
		}
		if c.groups, err = groups.Parse(text, c.rules()); err != nil {
			return fmt.Errorf("groups: %s: %w", c.Groups, err)
		}
	}
	rules, electable := c.rules(), 0
	if !rules.NeverMaster {
		electable = c.Nodes
	}
	for _, g := range c.groups {
		if !g.NeverMaster {
			electable += g.Nodes
		}
	}
	if electable == 0 && (c.Nodes > 0 || c.Groups != "") {
		return errors.New("groups: no node can be elected master, so no cluster would come of them: have a group with nodes and the role master")
	}
	return nil
}
