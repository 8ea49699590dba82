// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// formats is the annotation of a command that can print more than table and json.
const formats = "formats"

// checkOutput refuses a format a command does not know, before it does anything.
func (a *app) checkOutput(cmd *cobra.Command, _ []string) error {
	known := []string{"table", "json"}
	if more := cmd.Annotations[formats]; more != "" {
		known = append(known, strings.Fields(more)...)
	}
	if !slices.Contains(known, a.output) {
		wrong := a.output
		a.output = "table" // the error itself is shown as text
		return usage(cmd, "%s cannot print %q: say -o %s", cmd.CommandPath(), wrong, strings.Join(known, ", -o "))
	}
	return nil
}

// print writes the answer: v as JSON, or the table that fill makes.
func (a *app) print(v any, fill func(t *table)) error {
	if a.output == "json" {
		return writeJSON(a.Out, v)
	}
	t := &table{w: tabwriter.NewWriter(a.Out, 0, 8, 2, ' ', 0)}
	fill(t)
	return t.w.Flush()
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printList is print for a list; an empty one is said to be empty, on standard
// error.
func printList[T any](a *app, items []T, what string, fill func(t *table)) error {
	if items == nil {
		items = []T{}
	}
	if len(items) == 0 && a.output != "json" {
		a.note("there are no %s", what)
		return nil
	}
	return a.print(items, fill)
}

// table aligns columns.
type table struct {
	w *tabwriter.Writer
}

// row adds a line; an empty cell is shown as "-".
func (t *table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = cell(c)
	}
	fmt.Fprintln(t.w, strings.TrimRight(strings.Join(texts, "\t"), "\t "))
}

func cell(c any) string {
	text := ""
	switch v := c.(type) {
	case time.Time:
		text = moment(v)
	default:
		text = fmt.Sprint(v)
	}
	if text == "" {
		return "-"
	}
	return printable(text)
}

// moment shows a time to the minute, in UTC; the zero time is "".
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// printable makes text from elsewhere harmless to a terminal and to a table.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}
