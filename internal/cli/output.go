// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
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

// required marks flags that must be given; checkFlags looks for them.
func required(cmd *cobra.Command, names ...string) *cobra.Command {
	for _, n := range names {
		if err := cmd.MarkFlagRequired(n); err != nil {
			cmd.RunE = func(*cobra.Command, []string) error { return err } // there is no such flag: every test of it fails
		}
	}
	return cmd
}

// checkFlags refuses a format a command does not know and a flag left out, before
// the command does anything.
func (a *app) checkFlags(cmd *cobra.Command, _ []string) error {
	known := []string{"table", "json"}
	if more := cmd.Annotations[formats]; more != "" {
		known = append(known, strings.Fields(more)...)
	}
	if !slices.Contains(known, a.output) {
		wrong := a.output
		a.output = "table" // the error itself is shown as text
		return usage(cmd, "%s cannot print %q: say -o %s", cmd.CommandPath(), wrong, strings.Join(known, ", -o "))
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return usage(cmd, "%s", err.Error())
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

// row adds a line; an empty cell is shown as "-", a nil one as nothing.
func (t *table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = cell(c)
	}
	fmt.Fprintln(t.w, strings.TrimRight(strings.Join(texts, "\t"), "\t "))
}

// fields shows a thing as its JSON has it: a row for each field that says
// something, and for each item of a list.
func (t *table) fields(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		t.row("error", err)
		return
	}
	in := json.NewDecoder(bytes.NewReader(text))
	_, err = in.Token() // the opening brace
	for err == nil && in.More() {
		var value json.RawMessage
		var name json.Token
		if name, err = in.Token(); err == nil {
			err = in.Decode(&value)
		}
		items := []json.RawMessage{value}
		if len(value) > 0 && value[0] == '[' {
			err = json.Unmarshal(value, &items)
		}
		for _, item := range items {
			if shown := plainText(item); shown != "" && shown != "null" {
				t.row(name, shown)
			}
		}
	}
}

func cell(c any) string {
	text := ""
	switch v := c.(type) {
	case nil:
		return ""
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

// progress is one line on a terminal that is written over and over, and gone at
// the end. Where standard error is no terminal it writes nothing.
type progress struct {
	a     *app
	width int
	next  time.Time
}

// every is how often the line changes.
const every = 100 * time.Millisecond

// feed is the progress function of a sync: records done of total; while
// fetching, bytes of an unknown total (-1).
func (p *progress) feed(feed string, done, total int) {
	if !p.a.Terminal || time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(every)
	if total < 0 {
		p.say(fmt.Sprintf("fetching %s: %.1f MiB", feed, float64(done)/(1<<20)))
		return
	}
	p.say(fmt.Sprintf("reading %s: %d of %d", feed, done, total))
}

// say replaces the line.
func (p *progress) say(text string) {
	if !p.a.Terminal {
		return
	}
	text = printable(text)
	if width := p.a.Width; width > 1 && len(text) >= width {
		text = text[:width-1]
	}
	fmt.Fprintf(p.a.Err, "\r%s%s", text, strings.Repeat(" ", max(0, p.width-len(text))))
	p.width = len(text)
}

// end takes the line away.
func (p *progress) end() {
	if p.width > 0 {
		fmt.Fprintf(p.a.Err, "\r%s\r", strings.Repeat(" ", p.width))
		p.width = 0
	}
}
