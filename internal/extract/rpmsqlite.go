// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// sqlite reads the tables of an SQLite 3 file (sqlite.org/fileformat2.html), page
// by page: each is read once at most, so a file costs what its size costs,
// whatever it says. The engine itself would want a file with a name, and would run
// what the file's author wrote as views and triggers.
type sqlite struct {
	file   File
	page   int // bytes
	usable int // bytes of a page that are not reserved
	seen   []bool
}

const (
	leafPage     = 13
	interiorPage = 5
	maxTreeDepth = 24
)

// walkSQLite visits the second column of the table "Packages".
func walkSQLite(file File, visit func([]byte) error) error {
	db, err := openSQLite(file)
	if err != nil {
		return err
	}
	root := 0
	err = db.table(1, 0, func(row []byte) error {
		if columns, err := sqliteRow(row); err != nil {
			return err
		} else if len(columns) > 3 && string(columns[0]) == "table" && string(columns[1]) == "Packages" {
			root = sqliteInt(columns[3])
		}
		return nil
	})
	if err != nil {
		return err
	}
	if root == 0 {
		return errors.New("it has no table of packages")
	}
	return db.table(root, 0, func(row []byte) error {
		columns, err := sqliteRow(row)
		if err != nil || len(columns) < 2 {
			return errBroken
		}
		return visit(columns[1])
	})
}

func openSQLite(file File) (*sqlite, error) {
	head, err := readAt(file.Content, 0, 100)
	if err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(head[16:]))
	if size == 1 {
		size = 65536
	}
	db := &sqlite{file: file, page: size, usable: size - int(head[20])}
	if size < 512 || size&(size-1) != 0 || db.usable < 480 {
		return nil, errBroken
	}
	if encoding := binary.BigEndian.Uint32(head[56:]); encoding > 1 {
		return nil, errors.New("its texts are not UTF-8")
	}
	pages := int64(binary.BigEndian.Uint32(head[28:]))
	counted := bytes.Equal(head[24:28], head[92:96]) // by a version that keeps the count
	if counted && pages*int64(size) > file.Size {
		return nil, errBroken
	}
	db.seen = make([]bool, file.Size/int64(size)+1)
	return db, nil
}

func (db *sqlite) read(n int) ([]byte, error) {
	if n < 1 || n >= len(db.seen) || db.seen[n] {
		return nil, errBroken
	}
	db.seen[n] = true
	data, err := readAt(db.file.Content, int64(n-1)*int64(db.page), db.page)
	if err != nil {
		return nil, err
	}
	return data[:db.usable], nil
}

// table visits the rows below a page of a table.
func (db *sqlite) table(n, depth int, visit func([]byte) error) error {
	page, err := db.read(n)
	if err != nil {
		return err
	}
	start := 0
	if n == 1 {
		start = 100 // behind the file's header
	}
	kind, cells := page[start], int(binary.BigEndian.Uint16(page[start+3:]))
	pointers := start + 8
	if kind == interiorPage {
		pointers += 4
	}
	if kind != leafPage && kind != interiorPage || depth > maxTreeDepth || pointers+2*cells > len(page) {
		return errBroken
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(page[pointers+2*i:]))
		if at+4 > len(page) {
			return errBroken
		}
		if kind == interiorPage {
			err = db.table(int(binary.BigEndian.Uint32(page[at:])), depth+1, visit)
		} else {
			err = db.row(page[at:], visit)
		}
		if err != nil {
			return err
		}
	}
	if kind == interiorPage {
		return db.table(int(binary.BigEndian.Uint32(page[start+8:])), depth+1, visit)
	}
	return nil
}

// row visits the content of a leaf's cell, which may go on in other pages.
func (db *sqlite) row(cell []byte, visit func([]byte) error) error {
	size, n := sqliteVarint(cell)
	_, m := sqliteVarint(cell[n:])
	if n == 0 || m == 0 || size > maxRPMHeader || int64(size) > db.file.Size {
		return errBroken
	}
	cell = cell[n+m:]
	local := db.local(int(size))
	if local == int(size) {
		if local > len(cell) {
			return errBroken
		}
		return visit(cell[:local])
	}
	if local+4 > len(cell) {
		return errBroken
	}
	row := append(make([]byte, 0, size), cell[:local]...)
	for next := int(binary.BigEndian.Uint32(cell[local:])); len(row) < int(size); {
		page, err := db.read(next)
		if err != nil {
			return err
		}
		next = int(binary.BigEndian.Uint32(page))
		row = append(row, page[4:min(len(page), 4+int(size)-len(row))]...)
	}
	return visit(row)
}

// local is how much of a row stands in the leaf itself ("Cell Payload Overflow").
func (db *sqlite) local(size int) int {
	most := db.usable - 35
	if size <= most {
		return size
	}
	least := (db.usable-12)*32/255 - 23
	if k := least + (size-least)%(db.usable-4); k <= most {
		return k
	}
	return least
}

// sqliteRow takes a row apart ("Record Format"): the sizes of its columns, then
// their bytes.
func sqliteRow(row []byte) ([][]byte, error) {
	const maxColumns = 100
	size, n := sqliteVarint(row)
	if n == 0 || size > uint64(len(row)) || size < uint64(n) {
		return nil, errBroken
	}
	head, body := row[n:size], row[size:]
	var columns [][]byte
	for len(head) > 0 && len(columns) < maxColumns {
		kind, n := sqliteVarint(head)
		if n == 0 {
			return nil, errBroken
		}
		head = head[n:]
		width := sqliteWidth(kind)
		if width > uint64(len(body)) {
			return nil, errBroken
		}
		columns = append(columns, body[:width])
		body = body[width:]
	}
	return columns, nil
}

func sqliteWidth(kind uint64) uint64 {
	if kind >= 12 {
		return (kind - 12) / 2
	}
	return [12]uint64{0, 1, 2, 3, 4, 6, 8, 8}[kind]
}

// sqliteInt reads a whole number; out of range is 0, which is no page.
func sqliteInt(b []byte) int {
	n := 0
	for _, c := range b[:min(len(b), 4)] {
		n = n<<8 | int(c)
	}
	return n
}

// sqliteVarint reads a number of up to nine bytes; 0 bytes means there is none.
func sqliteVarint(b []byte) (value uint64, n int) {
	for i, c := range b[:min(len(b), 9)] {
		if i == 8 {
			return value<<8 | uint64(c), 9
		}
		value = value<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return value, i + 1
		}
	}
	return 0, 0
}
