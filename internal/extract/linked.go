// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"slices"
	"strings"
)

// The first four bytes of Go's function table, by the Go version that changed it
// (runtime/symtab.go): the names lie in one block, found through the header.
const (
	tableGo116 = 0xfffffffa
	tableGo118 = 0xfffffff0
	tableGo120 = 0xfffffff1
)

// linkedPackages lists the Go packages whose functions are in the program, sorted;
// nil where the program does not tell. The names stay when symbols are stripped:
// Go needs them for stack traces. Inlined functions are named, too.
func linkedPackages(r io.ReaderAt) []string {
	table, err := pclntab(r)
	if err != nil {
		return nil
	}
	seen := map[string]bool{}
	for name := range bytes.SplitSeq(functionNames(table), []byte{0}) {
		if pkg := packageOf(name); pkg != "" {
			seen[pkg] = true
		}
	}
	if len(seen) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(seen))
}

// functionNames returns the block of names, each ended by a zero byte.
func functionNames(table []byte) []byte {
	if len(table) < 8 {
		return nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	if table[0] == 0xff {
		order = binary.BigEndian
	}
	words := 0 // between the first eight bytes and the offset of the names
	switch order.Uint32(table) {
	case tableGo116:
		words = 2
	case tableGo118, tableGo120:
		words = 3
	default:
		return nil
	}
	from, ok1 := tableWord(table, order, words)
	to, ok2 := tableWord(table, order, words+1)
	if !ok1 || !ok2 || from > to || to > uint64(len(table)) {
		return nil
	}
	return table[from:to]
}

func tableWord(table []byte, order binary.ByteOrder, n int) (uint64, bool) {
	size := int(table[7])
	at := 8 + n*size
	if size != 4 && size != 8 || at+size > len(table) {
		return 0, false
	}
	if size == 4 {
		return uint64(order.Uint32(table[at:])), true
	}
	return order.Uint64(table[at:]), true
}

// escapes are what the linker writes for characters that would end a path.
var escapes = strings.NewReplacer("%2e", ".", "%22", "\"", "%25", "%")

// packageOf cuts the import path from a function name as the linker writes it:
// "gopkg.in/yaml%2ev2.(*Decoder).Decode" is of gopkg.in/yaml.v2.
func packageOf(function []byte) string {
	name := string(function)
	if strings.HasPrefix(name, "go:") || strings.HasPrefix(name, "type:") {
		return ""
	}
	if i := strings.IndexByte(name, '['); i >= 0 {
		name = name[:i] // type arguments have paths of their own
	}
	slash := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[slash:], '.')
	if dot <= 0 {
		return ""
	}
	pkg := escapes.Replace(name[:slash+dot])
	if !plausible(pkg) {
		return ""
	}
	return pkg
}
