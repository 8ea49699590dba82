// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package term

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

// Formats is the annotation of a command that can print more than table and json.
const Formats = "formats"

// Required marks flags that must be given; CheckFlags looks for them.
func Required(cmd *cobra.Command, names ...string) *cobra.Command {
	for _, n := range names {
		if err := cmd.MarkFlagRequired(n); err != nil {
			cmd.RunE = func(*cobra.Command, []string) error { return err } // there is no such flag: every test of it fails
		}
	}
	return cmd
}

// CheckFlags refuses a format a command does not know and a flag left out, before
// the command does anything.
func (a *Term) CheckFlags(cmd *cobra.Command, _ []string) error {
	known := []string{"table", "json"}
	if more := cmd.Annotations[Formats]; more != "" {
		known = append(known, strings.Fields(more)...)
	}
	if !slices.Contains(known, a.Output) {
		wrong := a.Output
		a.Output = "table" // the error itself is shown as text
		return Usage(cmd, "%s cannot print %q: say -o %s", cmd.CommandPath(), wrong, strings.Join(known, ", -o "))
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return Usage(cmd, "%s", err.Error())
	}
	return nil
}

// Print writes the answer: v as JSON, or the table that fill makes.
func (a *Term) Print(v any, fill func(t *Table)) error {
	if a.Output == "json" {
		return WriteJSON(a.Out, v)
	}
	t := &Table{w: tabwriter.NewWriter(a.Out, 0, 8, 2, ' ', 0)}
	fill(t)
	return t.w.Flush()
}

// WriteJSON writes an answer as JSON, indented.
func WriteJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// PrintList is print for a list; an empty one is said to be empty, on standard
// error.
func PrintList[T any](a *Term, items []T, what string, fill func(t *Table)) error {
	if items == nil {
		items = []T{}
	}
	if len(items) == 0 && a.Output != "json" {
		a.Note("there are no %s", what)
		return nil
	}
	return a.Print(items, fill)
}

// Table aligns columns.
type Table struct {
	w *tabwriter.Writer
}

// Write adds text as it is: lines of cells with tabs between them.
func (t *Table) Write(text []byte) (int, error) { return t.w.Write(text) }

// Row adds a line; an empty cell is shown as "-", a nil one as nothing.
func (t *Table) Row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = cell(c)
	}
	fmt.Fprintln(t.w, strings.TrimRight(strings.Join(texts, "\t"), "\t "))
}

// Fields shows a thing as its JSON has it: a row for each field that says
// something, and for each item of a list.
func (t *Table) Fields(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		t.Row("error", err)
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
			if shown := PlainText(item); shown != "" && shown != "null" {
				t.Row(name, shown)
			}
		}
	}
}

// PlainText is a JSON string's text, or any other value as JSON.
func PlainText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

func cell(c any) string {
	text := ""
	switch v := c.(type) {
	case nil:
		return ""
	case time.Time:
		text = Moment(v)
	default:
		text = fmt.Sprint(v)
	}
	if text == "" {
		return "-"
	}
	return Printable(text)
}

// Moment shows a time to the minute, in UTC; the zero time is "".
func Moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// Ago says how long ago something was.
func Ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d minutes ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// Printable makes text from elsewhere harmless to a terminal and to a table.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// Progress is one line on a terminal that is written over and over, and gone at
// the end. Where standard error is no terminal it writes nothing.
type Progress struct {
	a     *Term
	width int
	next  time.Time
}

// every is how often the line changes.
const every = 100 * time.Millisecond

// Feed is the progress function of a sync: records done of total; while
// fetching, bytes of an unknown total (-1).
func (p *Progress) Feed(feed string, done, total int) {
	if !p.a.Terminal || time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(every)
	if total < 0 {
		p.Say(fmt.Sprintf("fetching %s: %.1f MiB", feed, float64(done)/(1<<20)))
		return
	}
	p.Say(fmt.Sprintf("reading %s: %d of %d", feed, done, total))
}

// Say replaces the line.
func (p *Progress) Say(text string) {
	if !p.a.Terminal {
		return
	}
	text = Printable(text)
	if width := p.a.Width; width > 1 && len(text) >= width {
		text = text[:width-1]
	}
	fmt.Fprintf(p.a.Err, "\r%s%s", text, strings.Repeat(" ", max(0, p.width-len(text))))
	p.width = len(text)
}

// End takes the line away.
func (p *Progress) End() {
	if p.width > 0 {
		fmt.Fprintf(p.a.Err, "\r%s\r", strings.Repeat(" ", p.width))
		p.width = 0
	}
}
