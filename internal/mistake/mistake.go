// Package mistake collects all that is wrong in a file, so that whoever wrote it is told at once, line by line.
package mistake

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mistake is something wrong in a file.
type Mistake struct {
	Line int // 0 if it is about no line
	Text string
}

// List is all that is wrong in a file.
type List []Mistake

// Add notes a mistake.
func (l *List) Add(line int, format string, args ...any) {
	*l = append(*l, Mistake{Line: line, Text: fmt.Sprintf(format, args...)})
}

// Err is the list in the order of the lines, nil if it is empty.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	slices.SortStableFunc(l, func(a, b Mistake) int { return cmp.Compare(a.Line, b.Line) })
	return l
}

// Error lists the mistakes in one line.
func (l List) Error() string {
	var texts []string
	for _, mistake := range l {
		text := mistake.Text
		if mistake.Line > 0 {
			text = fmt.Sprintf("line %d: %s", mistake.Line, text)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}
