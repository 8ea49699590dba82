// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package leak finds credentials in text and files: tokens by the marks their
// makers gave them, keys by their form, passwords by what stands around them. It
// says the kind and the place, never a part of the credential.
//
// It would rather miss a password that looks like any word than cry wolf: samples
// of manuals, placeholders and variables are no credentials. docs/check.md has the
// kinds and the measured number of false alarms.
package leak

import (
	"bytes"
	"slices"
	"sync"
)

// rules are all rules, and their marks.
var rules = sync.OnceValue(func() ruleBook {
	b := ruleBook{list: append(known(), inContext()...), marks: newMarks()}
	for i, r := range b.list {
		for _, mark := range r.marks {
			b.marks.add(mark, i)
		}
	}
	b.keys, b.aws = len(b.list), len(b.list)+1
	b.marks.add("PRIVATE KEY", b.keys)
	b.marks.add("AKIA", b.aws)
	b.marks.add("ASIA", b.aws)
	return b
})

type ruleBook struct {
	list      []rule
	marks     *marks
	keys, aws int // the numbers of what needs more than a pattern
}

const (
	beforeMark = 90   // bytes before a mark that a pattern sees
	afterMark  = 400  // and after it
	maxTries   = 1000 // likely places looked at in one text, for each rule
)

// search is one pass over one text.
type search struct {
	book  ruleBook
	data  []byte
	plain bool // text, not a program or database
	tries []int
	found []string
}

// In names the kinds of credential in a text, each once. Its time is linear in the
// text's size.
func In(data []byte) []string {
	book := rules()
	s := search{book: book, data: data, plain: isText(data)}
	book.marks.scan(data, s.at)
	slices.Sort(s.found)
	return s.found
}

// isText looks for zero bytes at the start, as git does.
func isText(data []byte) bool {
	return bytes.IndexByte(data[:min(len(data), 1024)], 0) < 0
}

func (s *search) add(details ...string) {
	for _, d := range details {
		if !slices.Contains(s.found, d) {
			s.found = append(s.found, d)
		}
	}
}

// at looks at one mark.
func (s *search) at(number, at int) {
	if s.tries == nil {
		s.tries = make([]int, len(s.book.list)+2)
	}
	if s.tries[number] >= maxTries {
		return
	}
	switch number {
	case s.book.keys:
		s.tries[number] = maxTries // all of them at once
		s.add(privateKeys(s.data)...)
		return
	case s.book.aws:
		s.tries[number] = maxTries
		if detail := awsKeys(s.data); detail != "" && (s.plain || detail == "AWS key pair") {
			s.add(detail)
		}
		return
	}
	r := &s.book.list[number]
	if r.text && !s.plain || r.likely != nil && !r.likely(s.data[at:]) {
		return
	}
	s.tries[number]++
	if r.matches(s.data, at) {
		s.tries[number] = maxTries
		s.add(r.detail)
	}
}

// matches looks at what stands around a mark.
func (r *rule) matches(data []byte, at int) bool {
	reach := afterMark
	if r.reach > 0 {
		reach = r.reach
	}
	around := data[max(0, at-beforeMark):min(len(data), at+reach)]
	for _, m := range r.pattern().FindAllSubmatch(around, 5) {
		if r.real(m[len(m)-1]) {
			return true
		}
	}
	return false
}

// awsKeys finds an access key id with its secret nearby, or the id alone.
func awsKeys(data []byte) string {
	const near = 400
	detail := ""
	for _, at := range awsKeyID().FindAllIndex(data, maxTries) {
		id := data[at[0]:at[1]]
		if isSample(string(id)) || !varied(id[4:]) {
			continue
		}
		around := data[max(0, at[0]-near):min(len(data), at[1]+near)]
		for _, m := range awsSecret().FindAllSubmatch(around, 20) {
			if varied(m[1]) && !isSample(string(m[1])) {
				return "AWS key pair"
			}
		}
		detail = "AWS access key id"
	}
	return detail
}
