// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"unicode/utf8"

	"github.com/goldkeep/goldkeep/internal/verdict"
)

// colour is a colour of a terminal (ECMA-48, "SGR").
type colour string

const (
	plain  colour = ""
	red    colour = "\x1b[31m"
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
	bold   colour = "\x1b[1m"
	reset         = "\x1b[0m"
)

// page gathers lines of text.
type page struct {
	options Options
	text    strings.Builder
}

// cell is text of one colour. Its text may come from an image: it is cleaned
// when it is written.
type cell struct {
	text   string
	colour colour
}

// heading begins a section.
func (p *page) heading(title, rest string) {
	if p.text.Len() > 0 {
		p.text.WriteByte('\n')
	}
	p.line(strings.TrimRight(p.paint(cell{title, bold})+"  "+clean(rest), " "))
}

// pairs writes names and values, leaving out empty values.
func (p *page) pairs(pairs ...string) {
	var rows [][]cell
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			rows = append(rows, []cell{{text: pairs[i]}, {text: pairs[i+1]}})
		}
	}
	p.table(rows)
}

// table writes rows with their columns below each other.
func (p *page) table(rows [][]cell) {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(clean(c.text)))
		}
	}
	for _, row := range rows {
		line := " "
		for i, c := range row {
			line += " " + p.paint(c)
			if i < len(row)-1 {
				line += strings.Repeat(" ", 1+widths[i]-utf8.RuneCountInString(clean(c.text)))
			}
		}
		p.line(strings.TrimRight(line, " "))
	}
}

// paint cleans a cell's text and colours it.
func (p *page) paint(c cell) string {
	text := clean(c.text)
	if !p.options.Color || c.colour == plain {
		return text
	}
	return string(c.colour) + text + reset
}

// line writes one line, cut to the width.
func (p *page) line(text string) {
	if p.options.Width > 0 {
		text = cut(text, p.options.Width)
	}
	p.text.WriteString(text + "\n")
}

// cut shortens a line to a number of visible characters; our own colour codes
// take no room.
func cut(text string, width int) string {
	seen, inColour := 0, false
	for i, r := range text {
		switch {
		case r == '\x1b':
			inColour = true
		case inColour:
			inColour = r != 'm'
		case seen == width-1 && visible(text[i:]) > 1:
			end := text[:i] + "…"
			if strings.Contains(text, "\x1b") {
				end += reset
			}
			return end
		default:
			seen++
		}
	}
	return text
}

// visible counts the characters of a line less our own colour codes.
func visible(text string) int {
	n, inColour := 0, false
	for _, r := range text {
		switch {
		case r == '\x1b':
			inColour = true
		case inColour:
			inColour = r != 'm'
		default:
			n++
		}
	}
	return n
}

// clean makes text from an image safe for a terminal.
func clean(text string) string { return verdict.OneLine(text) }
