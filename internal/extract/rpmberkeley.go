// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"encoding/binary"
	"errors"
)

// Kinds of page, and of what stands in a hash page (Berkeley DB, dbinc/db_page.h).
const (
	bdbMagic        = 0x00061561
	bdbPageHeader   = 26
	bdbUnsortedPage = 2
	bdbOverflowPage = 7
	bdbHashPage     = 13
	bdbInline       = 1
	bdbElsewhere    = 3
)

// berkeley is a hash of Berkeley DB, as RPM used it until version 4.16.
type berkeley struct {
	file     File
	order    binary.ByteOrder
	pageSize int
	pages    int64
	seen     []bool // pages of large values: none belongs to two
}

// walkBerkeley reads the values of a hash; the keys are numbers that say nothing.
func walkBerkeley(file File, visit func([]byte) error) error {
	b, err := openBerkeley(file)
	if err != nil {
		return err
	}
	for n := int64(1); n < b.pages; n++ {
		page, err := readAt(file.Content, n*int64(b.pageSize), b.pageSize)
		if err != nil {
			return err
		}
		if kind := page[25]; kind != bdbHashPage && kind != bdbUnsortedPage {
			continue
		}
		if err := b.values(page, visit); err != nil {
			return err
		}
	}
	return nil
}

func openBerkeley(file File) (*berkeley, error) {
	meta, err := readAt(file.Content, 0, 72)
	if err != nil {
		return nil, err
	}
	b := &berkeley{file: file, order: binary.LittleEndian}
	if binary.BigEndian.Uint32(meta[12:]) == bdbMagic {
		b.order = binary.BigEndian
	}
	if b.order.Uint32(meta[12:]) != bdbMagic {
		return nil, errors.New("its format is not known")
	}
	size := b.order.Uint32(meta[20:])
	if size < 512 || size > 65536 || size&(size-1) != 0 {
		return nil, errBroken
	}
	if meta[24] != 0 {
		return nil, errors.New("it is encrypted")
	}
	b.pageSize = int(size)
	b.pages = int64(b.order.Uint32(meta[32:])) + 1
	if b.pages > file.Size/int64(size) {
		return nil, errBroken
	}
	b.seen = make([]bool, b.pages)
	return b, nil
}

// values visits the values of a hash page: keys and values take turns, and grow
// from the end of the page towards its start.
func (b *berkeley) values(page []byte, visit func([]byte) error) error {
	count := int(b.order.Uint16(page[20:]))
	if bdbPageHeader+2*count > len(page) {
		return errBroken
	}
	offset := func(i int) int { return int(b.order.Uint16(page[bdbPageHeader+2*i:])) }
	for i := 1; i < count; i += 2 {
		from, to := offset(i), offset(i-1)
		if from < bdbPageHeader || from >= to || to > len(page) {
			return errBroken
		}
		var value []byte
		var err error
		switch item := page[from:to]; item[0] {
		case bdbInline:
			if value = item[1:]; len(value) == 4 {
				continue // the next free number
			}
		case bdbElsewhere:
			if len(item) < 12 {
				return errBroken
			}
			value, err = b.overflow(b.order.Uint32(item[4:]), b.order.Uint32(item[8:]))
		default:
			err = errBroken // duplicates: RPM keeps none
		}
		if err != nil {
			return err
		}
		if err := visit(value); err != nil {
			return err
		}
	}
	return nil
}

// overflow collects a large value from its chain of pages.
func (b *berkeley) overflow(page, size uint32) ([]byte, error) {
	if size > maxRPMHeader || int64(size) > b.file.Size {
		return nil, errBroken
	}
	var value []byte
	for page != 0 && len(value) < int(size) {
		if int64(page) >= b.pages || b.seen[page] {
			return nil, errBroken
		}
		b.seen[page] = true
		data, err := readAt(b.file.Content, int64(page)*int64(b.pageSize), b.pageSize)
		if err != nil {
			return nil, err
		}
		used := int(b.order.Uint16(data[22:]))
		if data[25] != bdbOverflowPage || bdbPageHeader+used > len(data) {
			return nil, errBroken
		}
		value = append(value, data[bdbPageHeader:bdbPageHeader+used]...)
		page = b.order.Uint32(data[16:])
	}
	if len(value) != int(size) {
		return nil, errBroken
	}
	return value, nil
}
