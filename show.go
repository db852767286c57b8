package main

import (
	"encoding/json"
	"io"
	"text/tabwriter"
)

// show prints an answer as JSON, or as text for people whose columns are parted by tabs.
func show(out io.Writer, asJSON bool, answer any, text func(io.Writer)) error {
	if asJSON {
		indented := json.NewEncoder(out)
		indented.SetEscapeHTML(false)
		indented.SetIndent("", "  ")
		return indented.Encode(answer)
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	text(table)
	return table.Flush()
}
