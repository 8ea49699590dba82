// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Error is one thing that is wrong at one place.
type Error struct {
	File string // "" where there is no file
	Line int    // 0 where no line is known
	Msg  string
}

// Error returns "file:line: message".
func (e Error) Error() string {
	file := e.File
	if file == "" {
		file = "manifest"
	}
	if e.Line <= 0 {
		return file + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d: %s", file, e.Line, e.Msg)
}

// Errors is everything that is wrong.
type Errors []Error

// Error returns one error a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns nil where there are no errors, and otherwise a fault of the kind
// Invalid that unwraps to the Errors, sorted by file, line and text.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	sorted := slices.Clone(e)
	slices.SortStableFunc(sorted, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Msg, b.Msg))
	})
	return fault.New(fault.Invalid, "%w", sorted)
}

// Errorf returns an error at a line of the document's file.
func (d *Document) Errorf(line int, format string, args ...any) Error {
	return Error{File: d.File, Line: line, Msg: fmt.Sprintf(format, args...)}
}
