// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"
	"time"
)

// progress is one line on a terminal that is written over and over, and gone at
// the end. Where standard error is no terminal it writes nothing.
type progress struct {
	a     *app
	width int
	next  time.Time
}

func (a *app) progress() *progress { return &progress{a: a} }

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
