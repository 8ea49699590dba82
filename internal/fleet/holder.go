// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/store"
)

// The images that hold a part are a list of numbers, cut into chunks: a row for
// every chunkSize image numbers, with two bytes an image. So a part that half the
// fleet has is read in a few rows, and one more image rewrites few bytes.
const chunkSize = 4096

// hold notes that an image holds a part.
func hold(ctx context.Context, tx store.Tx, part, num int64) error {
	return editChunk(ctx, tx, part, num, func(list []uint16, at int, there bool) []uint16 {
		if there {
			return list
		}
		return slices.Insert(list, at, uint16(num%chunkSize))
	})
}

// release notes that it does no more.
func release(ctx context.Context, tx store.Tx, part, num int64) error {
	return editChunk(ctx, tx, part, num, func(list []uint16, at int, there bool) []uint16 {
		if !there {
			return list
		}
		return slices.Delete(list, at, at+1)
	})
}

func editChunk(ctx context.Context, tx store.Tx, part, num int64, edit func(list []uint16, at int, there bool) []uint16) error {
	var body []byte
	err := tx.QueryRow(ctx, "SELECT images FROM fleet_holder WHERE part = ? AND chunk = ?", part, num/chunkSize).Scan(&body)
	if err != nil && !errors.Is(err, store.ErrNoRows) {
		return fmt.Errorf("read holders: %w", err)
	}
	list := readChunk(body)
	at, there := slices.BinarySearch(list, uint16(num%chunkSize))
	edited := edit(list, at, there)
	body = make([]byte, 0, 2*len(edited))
	for _, n := range edited {
		body = binary.LittleEndian.AppendUint16(body, n)
	}
	_, err = tx.Exec(ctx, `INSERT INTO fleet_holder (part, chunk, images) VALUES (?, ?, ?)
		ON CONFLICT (part, chunk) DO UPDATE SET images = excluded.images`, part, num/chunkSize, body)
	if err != nil {
		return fmt.Errorf("keep holders: %w", err)
	}
	return nil
}

func readChunk(body []byte) []uint16 {
	list := make([]uint16, len(body)/2)
	for i := range list {
		list[i] = binary.LittleEndian.Uint16(body[2*i:])
	}
	return list
}

// holders returns the numbers of the images that hold any of some parts, sorted.
func holders(ctx context.Context, tx store.Tx, parts []int64) ([]int64, error) {
	chunks := map[int64]*[chunkSize]bool{}
	err := InChunks(parts, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var chunk int64
			var body []byte
			if err := r.Scan(&chunk, &body); err != nil {
				return err
			}
			seen := chunks[chunk]
			if seen == nil {
				seen = new([chunkSize]bool)
				chunks[chunk] = seen
			}
			for _, n := range readChunk(body) {
				seen[n%chunkSize] = true
			}
			return nil
		}, "SELECT chunk, images FROM fleet_holder WHERE part IN ("+marks+")", args...)
	})
	if err != nil {
		return nil, fmt.Errorf("read holders: %w", err)
	}
	var nums []int64
	for _, chunk := range slices.Sorted(maps.Keys(chunks)) {
		for n, held := range chunks[chunk] {
			if held {
				nums = append(nums, chunk*chunkSize+int64(n))
			}
		}
	}
	return nums, nil
}

// inChunk is how many values one statement asks for, and manyInChunk where there are
// more than a few. Shorter lists are filled up with their last value, so that two
// prepared statements serve them all.
const inChunk, manyInChunk = 64, 1024

var (
	inMarks     = strings.TrimSuffix(strings.Repeat("?,", inChunk), ",")
	manyInMarks = strings.TrimSuffix(strings.Repeat("?,", manyInChunk), ",")
)

// InChunks calls fn with values cut into lists of one of two lengths, and as many
// marks.
func InChunks[T any](values []T, fn func(marks string, args []any) error) error {
	for len(values) > 0 {
		size, marks := inChunk, inMarks
		if len(values) > 4*inChunk {
			size, marks = manyInChunk, manyInMarks
		}
		part := values[:min(size, len(values))]
		values = values[len(part):]
		args := make([]any, size)
		for i := range args {
			args[i] = part[min(i, len(part)-1)]
		}
		if err := fn(marks, args); err != nil {
			return err
		}
	}
	return nil
}
