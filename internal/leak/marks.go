// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package leak

import (
	"bytes"
	"encoding/binary"
)

// slotBits is the size of the table of windows: 32 KiB fit into the fastest memory
// of a processor, and leave almost all slots empty.
const slotBits = 14

// window is how many bytes of a mark are looked at, and step how far one look is
// from the next: every mark of window+step-1 bytes or more is seen by one of them.
const (
	window  = 3
	step    = 2
	minMark = window + step - 1
)

// marks finds any of many short texts in one pass: it looks at every second place
// for three bytes that some mark begins with, or has after its first byte. That is
// several times faster than one search for each mark, and does not get slower with
// more of them.
type marks struct {
	slots [1 << slotBits]uint16 // 0: no mark; else a place in lists, plus 1
	lists [][]marked
}

// marked is a mark, and how far into it the window is.
type marked struct {
	text   []byte
	offset int
	rules  []int
}

func newMarks() *marks { return &marks{} }

// add lets rule be told of text, which has at least minMark bytes.
func (m *marks) add(text string, rule int) {
	for offset := range step {
		slot := slotOf([]byte(text[offset:]))
		if m.slots[slot] == 0 {
			m.lists = append(m.lists, nil)
			m.slots[slot] = uint16(len(m.lists)) //nolint:gosec // the rules are a few hundred
		}
		list := &m.lists[m.slots[slot]-1]
		known := false
		for i := range *list {
			if e := &(*list)[i]; string(e.text) == text && e.offset == offset {
				e.rules, known = append(e.rules, rule), true
			}
		}
		if !known {
			*list = append(*list, marked{[]byte(text), offset, []int{rule}})
		}
	}
}

// slotOf spreads the first three bytes over the table.
func slotOf(b []byte) uint32 {
	_ = b[2]
	return spread(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16)
}

func spread(three uint32) uint32 { return three * 0x9e3779b1 >> (32 - slotBits) }

// scan calls hit for each rule with each place its mark is at, in order.
func (m *marks) scan(data []byte, hit func(rule, at int)) {
	const wide = 8 // bytes read at once, for three looks
	i := 0
	for ; i+wide <= len(data); i += 3 * step {
		eight := binary.LittleEndian.Uint64(data[i:])
		one, two, three := spread(uint32(eight&0xffffff)), spread(uint32(eight>>16&0xffffff)), spread(uint32(eight>>32&0xffffff))
		if m.slots[one]|m.slots[two]|m.slots[three] == 0 {
			continue
		}
		m.look(data, i, one, hit)
		m.look(data, i+step, two, hit)
		m.look(data, i+2*step, three, hit)
	}
	for ; i+window <= len(data); i += step {
		m.look(data, i, slotOf(data[i:]), hit)
	}
}

// look compares the marks of one slot.
func (m *marks) look(data []byte, i int, slot uint32, hit func(rule, at int)) {
	if m.slots[slot] == 0 {
		return
	}
	for _, e := range m.lists[m.slots[slot]-1] {
		at := i - e.offset
		if at < 0 || !bytes.HasPrefix(data[at:], e.text) {
			continue
		}
		for _, rule := range e.rules {
			hit(rule, at)
		}
	}
}
