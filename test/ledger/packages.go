package ledger

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Packages reads the records of all packages that Debian's own package list on this machine knows: tens of thousands of real
// texts.
func Packages(ctx context.Context) ([]Document, error) {
	list, err := exec.CommandContext(ctx, "apt-cache", "dumpavail").Output()
	if err != nil {
		return nil, fmt.Errorf("read the package list with apt-cache: %w", err)
	}
	documents := parsePackages(list)
	if len(documents) == 0 {
		return nil, fmt.Errorf("the package list is empty: run apt-get update")
	}
	return documents, nil
}

// parsePackages takes apart paragraphs of "Key: value" lines; a line that begins with a blank continues the value.
func parsePackages(list []byte) []Document {
	var documents []Document
	fields := map[string]string{}
	key := ""
	flush := func() {
		if fields["package"] != "" {
			id := fmt.Sprintf("%s_%s_%s_%d", fields["package"], fields["version"], fields["architecture"], len(documents))
			documents = append(documents, Document{ID: id, Source: fields})
		}
		fields, key = map[string]string{}, ""
	}
	lines := bufio.NewScanner(bytes.NewReader(list))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		name, value, isField := strings.Cut(line, ":")
		switch {
		case line == "":
			flush()
		case line[0] == ' ' && key != "":
			fields[key] += "\n" + strings.TrimSpace(line)
		case isField:
			key = strings.ToLower(name)
			fields[key] = strings.TrimSpace(value)
		}
	}
	flush()
	return documents
}
