// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goldkeep/goldkeep/internal/image"
)

// Names of images, reasons and answers are written by others. Before anything
// else, each is made one line of printable text, and cut.

// plain makes text one bounded line that shows as it is: no control characters,
// no characters that turn the direction of reading or have no width.
func plain(text string, most int) string {
	cut := len(text) > 4*most
	if cut {
		text = text[:4*most]
	}
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, text)
	clean = strings.TrimSpace(clean)
	if len(clean) <= most && !cut {
		return clean
	}
	clean = clean[:min(len(clean), most)]
	for !utf8.ValidString(clean) {
		clean = clean[:len(clean)-1]
	}
	return clean + "..."
}

func newID() string { return strings.ToLower(rand.Text()) }

// headline is a digest in one line: "12 refused, 3 warned (payments-team)".
func (d Digest) headline() string {
	line := d.counted()
	if len(d.Owners) > 0 {
		line += " (" + strings.Join(d.Owners, ", ") + ")"
	}
	return plain(line, 150)
}

// counted is what happened, in our own words alone: "12 refused, 3 warned".
func (d Digest) counted() string {
	if d.Kind == "test" {
		return "test message"
	}
	var parts []string
	for _, c := range changes {
		if n := d.Counts[c]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, c))
		}
	}
	return strings.Join(parts, ", ")
}

// lines is a digest as text, a line each.
func (d Digest) lines() []string {
	if d.Kind == "test" {
		return []string{"This is a test: news for " + strings.Join(d.Owners, ", ") + " will come here.", "Sent by " + d.Server + " at " + clock(d.From) + "."}
	}
	out := []string{"Between " + clock(d.From) + " and " + clock(d.To) + ", told by " + d.Server + "."}
	if len(d.Causes) > 0 {
		out = append(out, "In the course of: "+strings.Join(d.Causes, ", "))
	}
	out = append(out, counted("Why:", d.Reasons)...)
	out = append(out, counted("What to do:", d.Remedies)...)
	out = append(out, "", "What:")
	for _, it := range d.Items {
		out = append(out, it.lines()...)
	}
	if d.More > 0 {
		out = append(out, fmt.Sprintf("... and %d more", d.More))
	}
	return out
}

func counted(title string, all []Counted) []string {
	if len(all) == 0 {
		return nil
	}
	out := []string{"", title}
	for _, c := range all {
		out = append(out, fmt.Sprintf("%5dx %s", c.Count, c.Text))
	}
	return out
}

// lines is one item: what it is, and below it where it stands and until when.
func (it Item) lines() []string {
	head := "- " + string(it.Change)
	if it.Environment != "" {
		head += " in " + it.Environment
	}
	switch {
	case it.Feed != "":
		head += ": feed " + it.Feed
	case it.Instance != "":
		head += ": instance " + it.Instance + " of " + strings.Join(it.Workloads, ", ") + " on " + it.Node
	default:
		head += ": " + it.name()
	}
	out := []string{head}
	var where []string
	if len(it.Golden) > 0 {
		where = append(where, "golden image "+strings.Join(it.Golden, ", "))
	}
	if it.Instance == "" && len(it.Workloads) > 0 {
		where = append(where, "workload "+strings.Join(it.Workloads, ", "))
	}
	if who := append(append([]string(nil), it.Owners...), it.Contacts...); len(who) > 0 {
		where = append(where, "owner "+strings.Join(who, ", "))
	}
	if !it.Until.IsZero() {
		where = append(where, "until "+clock(it.Until))
	}
	if len(where) > 0 {
		out = append(out, "    "+strings.Join(where, "; "))
	}
	return out
}

// name is an image as people know it, with enough of the digest to find it.
func (it Item) name() string {
	id := short(image.Digest(it.Image))
	if it.ImageName == "" {
		return id
	}
	return it.ImageName + " (" + id + ")"
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
