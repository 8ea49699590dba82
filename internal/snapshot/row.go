// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// state.bin is a list of tables, each a 'T' with its name and columns, then an
// 'R' for each row with its values in order, and 'E' at the very end. Texts and
// bytes have their length in front as a varint.
const (
	markTable = 'T'
	markRow   = 'R'
	markEnd   = 'E'

	kindNull  = 0
	kindInt   = 1
	kindText  = 2
	kindBytes = 3
)

// The limits of what is read.
const (
	maxValue   = 64 << 20 // bytes
	maxColumns = 200
	maxTables  = 1000
	maxNameLen = 200
)

// appendRow encodes a row. Values are nil, int64, string or []byte.
func appendRow(b []byte, row []any) ([]byte, error) {
	for _, value := range row {
		switch v := value.(type) {
		case nil:
			b = append(b, kindNull)
		case int64:
			b = binary.AppendVarint(append(b, kindInt), v)
		case string:
			b = append(binary.AppendUvarint(append(b, kindText), uint64(len(v))), v...)
		case []byte:
			b = append(binary.AppendUvarint(append(b, kindBytes), uint64(len(v))), v...)
		default:
			return nil, fault.New(fault.Internal, "a value of type %T cannot be copied", v)
		}
	}
	return b, nil
}

// normal gives a value of a driver as one of the four kinds, after what its
// column is declared as: drivers differ.
func normal(value any, column store.Field) any {
	switch v := value.(type) {
	case int32:
		return int64(v)
	case int:
		return int64(v)
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case string:
		if column.Bytes {
			return []byte(v)
		}
	case []byte:
		if !column.Bytes && v != nil {
			return string(v)
		}
		if v == nil {
			return []byte{}
		}
	}
	return value
}

// reader reads state.bin.
type reader struct {
	in *bufio.Reader
}

func damaged(what string) error {
	return fault.New(fault.Invalid, "the snapshot is damaged: %s", what).WithHint("take another one, or make a new one with: goldkeep operator snapshot save FILE")
}

func (r reader) text(limit uint64) (string, error) {
	b, err := r.bytes(limit)
	return string(b), err
}

func (r reader) bytes(limit uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(r.in)
	if err != nil || n > limit {
		return nil, damaged("a length is out of bounds")
	}
	const step = 1 << 20 // so that a lie about the length costs nothing
	b := make([]byte, 0, min(n, step))
	for uint64(len(b)) < n {
		part := make([]byte, min(n-uint64(len(b)), step))
		if _, err := io.ReadFull(r.in, part); err != nil {
			return nil, damaged("it ends in the middle")
		}
		b = append(b, part...)
	}
	return b, nil
}

func (r reader) table() (name string, columns []string, err error) {
	if name, err = r.text(maxNameLen); err != nil {
		return "", nil, err
	}
	n, err := binary.ReadUvarint(r.in)
	if err != nil || n == 0 || n > maxColumns {
		return "", nil, damaged("a table has no or too many columns")
	}
	for range n {
		column, err := r.text(maxNameLen)
		if err != nil {
			return "", nil, err
		}
		columns = append(columns, column)
	}
	return name, columns, nil
}

func (r reader) row(columns int) ([]any, error) {
	row := make([]any, columns)
	for i := range row {
		kind, err := r.in.ReadByte()
		if err != nil {
			return nil, damaged("it ends in the middle")
		}
		switch kind {
		case kindNull:
		case kindInt:
			v, err := binary.ReadVarint(r.in)
			if err != nil {
				return nil, damaged("a number is not one")
			}
			row[i] = v
		case kindText:
			if row[i], err = r.text(maxValue); err != nil {
				return nil, err
			}
		case kindBytes:
			if row[i], err = r.bytes(maxValue); err != nil {
				return nil, err
			}
		default:
			return nil, damaged("a value is of no known kind")
		}
	}
	return row, nil
}

// eachRow reads a whole state: open is called for every table, row for each of
// its rows.
func eachRow(in io.Reader, open func(name string, columns []string) error, row func([]any) error) error {
	r := reader{bufio.NewReaderSize(in, 1<<20)}
	columns := 0
	for tables := 0; ; {
		mark, err := r.in.ReadByte()
		if err != nil {
			return damaged("it ends in the middle")
		}
		switch {
		case mark == markTable && tables < maxTables:
			tables++
			name, names, err := r.table()
			if err != nil {
				return err
			}
			if err := open(name, names); err != nil {
				return err
			}
			columns = len(names)
		case mark == markRow && columns > 0:
			values, err := r.row(columns)
			if err != nil {
				return err
			}
			if err := row(values); err != nil {
				return err
			}
		case mark == markEnd:
			if _, err := r.in.ReadByte(); err != io.EOF {
				return damaged("something follows its end")
			}
			return nil
		default:
			return damaged("it is not made of tables and rows")
		}
	}
}
