// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier

import "context"

// Decoded reads an entry and what decode makes of its value; nil where there is
// no entry.
//
// In a View of a store that nobody else changes, the result is kept beside the
// sealed row: whoever is given that row again is given the same result, which
// therefore nobody may change. It goes with the row, so it is never older than
// what Get would return, and Seal forgets it too. It is for what every request
// needs; a secret's value does not belong into it.
func Decoded[T any](ctx context.Context, r Reader, path string, decode func(value []byte) (*T, error)) (*T, error) {
	v, ok := r.(*view)
	if !ok { // a Writer: what it decodes is its own, to change
		e, err := r.Get(ctx, path)
		if err != nil || e == nil {
			return nil, err
		}
		return decode(e.Value)
	}
	key, row, err := v.find(ctx, path)
	if err != nil || row == nil {
		return nil, err
	}
	if kept := row.decoded.Load(); kept != nil {
		if made, ok := (*kept).(*T); ok {
			return made, nil
		}
	}
	e, err := v.openRow(ctx, key, row)
	if err != nil {
		return nil, err
	}
	made, err := decode(e.Value)
	if err != nil {
		return nil, err
	}
	var kept any = made
	row.decoded.Store(&kept)
	return made, nil
}
