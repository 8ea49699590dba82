// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"bytes"
	"encoding/binary"
	"iter"
	"strconv"
)

// The tags read (rpm, include/rpm/rpmtag.h).
const (
	tagName       = 1000
	tagVersion    = 1001
	tagRelease    = 1002
	tagEpoch      = 1003
	tagVendor     = 1011
	tagLicense    = 1014
	tagArch       = 1022
	tagOldFiles   = 1027
	tagSourceRPM  = 1044
	tagDirIndexes = 1116
	tagBaseNames  = 1117
	tagDirNames   = 1118
	tagModularity = 5096
)

// The types of a tag's data.
const (
	typeInt32    = 4
	typeString   = 6
	typeStrings  = 8
	typeI18n     = 9
	headerEntry  = 16 // bytes of one index entry
	maxRPMTags   = 65_536
	maxFileNames = 2_000_000 // of one package
)

// rpmHeader is one package's record: an index of tags into a block of data, all
// numbers big-endian (docs/manual/format_header.md of rpm).
type rpmHeader struct {
	index map[uint32]rpmEntry
	data  []byte
}

type rpmEntry struct {
	kind, count uint32
	data        []byte
}

func parseHeader(blob []byte) (rpmHeader, error) {
	if len(blob) < 8 {
		return rpmHeader{}, errBroken
	}
	tags, size := binary.BigEndian.Uint32(blob), binary.BigEndian.Uint32(blob[4:])
	start := 8 + int64(tags)*headerEntry
	if tags > maxRPMTags || start+int64(size) > int64(len(blob)) {
		return rpmHeader{}, errBroken
	}
	h := rpmHeader{index: make(map[uint32]rpmEntry, tags), data: blob[start : start+int64(size)]}
	for i := range int(tags) {
		e := blob[8+i*headerEntry:]
		offset := binary.BigEndian.Uint32(e[8:])
		if offset > size {
			continue // the mark of a region may count backwards
		}
		// A tag changed after the package was built stands again, behind the
		// original: the later one counts.
		h.index[binary.BigEndian.Uint32(e)] = rpmEntry{
			kind: binary.BigEndian.Uint32(e[4:]), count: binary.BigEndian.Uint32(e[12:]), data: h.data[offset:],
		}
	}
	if h.text(tagName) == "" || h.text(tagVersion) == "" {
		return rpmHeader{}, errBroken
	}
	return h, nil
}

// text returns a string, or the first of several.
func (h rpmHeader) text(tag uint32) string {
	e, ok := h.index[tag]
	end := bytes.IndexByte(e.data, 0)
	if !ok || end < 0 || e.kind != typeString && e.kind != typeStrings && e.kind != typeI18n {
		return ""
	}
	return string(e.data[:end])
}

// number returns a number as text, "" where there is none.
func (h rpmHeader) number(tag uint32) string {
	e, ok := h.index[tag]
	if !ok || e.kind != typeInt32 || e.count == 0 || len(e.data) < 4 {
		return ""
	}
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(e.data)), 10)
}

// strings yields the strings of a list.
func (h rpmHeader) strings(tag uint32) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		e := h.index[tag]
		if e.kind != typeStrings {
			return
		}
		data := e.data
		for range min(e.count, maxFileNames) {
			end := bytes.IndexByte(data, 0)
			if end < 0 || !yield(data[:end]) {
				return
			}
			data = data[end+1:]
		}
	}
}

// files yields the folder and name of each of the package's files; packages older
// than RPM 4 keep whole paths.
func (h rpmHeader) files() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		var folders []string
		for folder := range h.strings(tagDirNames) {
			folders = append(folders, string(folder))
		}
		numbers := h.index[tagDirIndexes]
		at := 0
		for name := range h.strings(tagBaseNames) {
			if numbers.kind != typeInt32 || at+4 > len(numbers.data) {
				return
			}
			folder := int64(binary.BigEndian.Uint32(numbers.data[at:]))
			at += 4
			if folder < int64(len(folders)) && !yield(folders[folder], string(name)) {
				return
			}
		}
		for name := range h.strings(tagOldFiles) {
			if !yield("", string(name)) {
				return
			}
		}
	}
}
