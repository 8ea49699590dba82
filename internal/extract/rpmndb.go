// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"encoding/binary"
	"fmt"
)

const (
	ndbPage     = 4096
	ndbSlot     = 16
	ndbHeader   = 2 * ndbSlot // it stands where the first two slots would
	maxNDBPages = 2048        // of slots: half a million packages
)

// walkNDB reads RPM's own format (rpm, lib/backend/ndb/rpmpkg.c), which SUSE uses:
// a table of slots, each with the place of one package's record, in blocks of 16
// bytes. Numbers are little-endian.
func walkNDB(file File, visit func([]byte) error) error {
	head, err := readAt(file.Content, 0, ndbHeader)
	if err != nil {
		return err
	}
	if v := binary.LittleEndian.Uint32(head[4:]); v != 0 {
		return fmt.Errorf("version %d of its format is not known", v)
	}
	pages := binary.LittleEndian.Uint32(head[12:])
	if pages == 0 || pages > maxNDBPages {
		return errBroken
	}
	slots, err := readAt(file.Content, 0, int(pages)*ndbPage)
	if err != nil {
		return err
	}
	left := file.Size // records do not overlap: together they are no larger than the file
	for at := ndbHeader; at < len(slots); at += ndbSlot {
		slot := slots[at : at+ndbSlot]
		if string(slot[:4]) != "Slot" {
			return errBroken
		}
		number := binary.LittleEndian.Uint32(slot[4:])
		if number == 0 {
			continue // not in use
		}
		record, err := ndbRecord(file, number, binary.LittleEndian.Uint32(slot[8:]))
		if err != nil {
			return err
		}
		if left -= int64(len(record)); left < 0 {
			return errBroken
		}
		if err := visit(record); err != nil {
			return err
		}
	}
	return nil
}

func ndbRecord(file File, number, block uint32) ([]byte, error) {
	at := int64(block) * ndbSlot
	head, err := readAt(file.Content, at, ndbSlot)
	if err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[12:])
	if string(head[:4]) != "BlbS" || binary.LittleEndian.Uint32(head[4:]) != number || size > maxRPMHeader || at+ndbSlot+int64(size) > file.Size {
		return nil, errBroken
	}
	return readAt(file.Content, at+ndbSlot, int(size))
}
