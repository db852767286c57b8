package main

import (
	"context"
	"os"

	"github.com/hashicorp/go-hclog"

	"mooring/plugin/guard"
)

// guardCommand is started by the plugin, which writes its settings to standard input.
type guardCommand struct{}

// Run guards until nothing is left to guard.
func (*guardCommand) Run(ctx context.Context, logger hclog.Logger) error {
	return guard.Run(ctx, os.Stdin, logger.GetLevel())
}
