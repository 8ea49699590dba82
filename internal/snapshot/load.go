// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Fits says whether a program with these migrations, by room, can take the
// snapshot. An older one can be taken: it is migrated at the next start.
func (s *Snapshot) Fits(steps map[string][]string) error {
	for _, room := range slices.Sorted(maps.Keys(s.Meta.Rooms)) {
		known, ours := len(steps[room]), s.Meta.Rooms[room]
		if ours > known || ours < 0 {
			return fault.New(fault.Conflict, "the snapshot was made by goldkeep %s: its tables of %s are of version %d, and this program knows %d", s.Meta.Version, room, ours, known).
				WithHint("restore it with goldkeep %s or later", s.Meta.Version)
		}
	}
	return nil
}

// Load puts the snapshot in the place of all the store holds, in one
// transaction: it is all there afterwards, or nothing has changed. Only the
// anchors of the audit logs stay. steps are the program's migrations, by room.
func (s *Snapshot) Load(ctx context.Context, st Source, steps map[string][]string) error {
	if err := s.Fits(steps); err != nil {
		return err
	}
	return st.Update(ctx, func(tx store.Tx) error {
		if err := s.clear(ctx, st, tx); err != nil {
			return err
		}
		for _, room := range slices.Sorted(maps.Keys(s.Meta.Rooms)) {
			if room == ownRoom {
				continue
			}
			for _, step := range steps[room][:s.Meta.Rooms[room]] {
				if _, err := tx.Exec(ctx, st.Adapt(step)); err != nil {
					return fmt.Errorf("make the tables of %s: %w", room, err)
				}
			}
		}
		tables, err := st.Tables(ctx, tx)
		if err != nil {
			return err
		}
		if err := s.fill(ctx, tx, tables); err != nil {
			return err
		}
		return s.compare(ctx, tx, tables)
	})
}

// clear removes all tables but the anchors' and that of the versions, which is
// emptied.
func (s *Snapshot) clear(ctx context.Context, st Source, tx store.Tx) error {
	tables, err := st.Tables(ctx, tx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		switch t.Name {
		case anchors:
			continue
		case "store_version":
			_, err = tx.Exec(ctx, "DELETE FROM store_version WHERE room <> ?", ownRoom)
		default:
			_, err = tx.Exec(ctx, "DROP TABLE "+quote(t.Name))
		}
		if err != nil {
			return fmt.Errorf("clear %s: %w", t.Name, err)
		}
	}
	return nil
}

// The most rows, and about the most bytes, that are written by one statement.
const (
	chunkRows  = 50
	chunkBytes = 4 << 20
)

// filler writes the rows of one table after the other.
type filler struct {
	table   store.Table
	pending []any
	rows    int
	bytes   int
}

func (s *Snapshot) fill(ctx context.Context, tx store.Tx, tables []store.Table) error {
	if _, err := s.state.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var f filler
	err := eachRow(s.state, func(name string, columns []string) error {
		if err := f.flush(ctx, tx); err != nil {
			return err
		}
		at := slices.IndexFunc(tables, func(t store.Table) bool { return t.Name == name })
		if at < 0 {
			return damaged("there is no table " + name)
		}
		f.table = store.Table{Name: name}
		for _, c := range columns {
			i := slices.IndexFunc(tables[at].Columns, func(have store.Field) bool { return have.Name == c })
			if i < 0 {
				return damaged("the table " + name + " has no column " + c)
			}
			f.table.Columns = append(f.table.Columns, tables[at].Columns[i])
		}
		return nil
	}, func(row []any) error {
		if f.table.Name == "store_version" {
			room := slices.IndexFunc(f.table.Columns, func(c store.Field) bool { return c.Name == "room" })
			if room < 0 {
				return damaged("the table store_version has no column room")
			}
			if row[room] == ownRoom {
				return nil // the anchors' own table stayed
			}
		}
		for i, v := range row {
			row[i] = normal(v, f.table.Columns[i])
			switch v := v.(type) {
			case string:
				f.bytes += len(v)
			case []byte:
				f.bytes += len(v)
			}
		}
		f.pending, f.rows = append(f.pending, row...), f.rows+1
		if f.rows < chunkRows && f.bytes < chunkBytes {
			return nil
		}
		return f.flush(ctx, tx)
	})
	if err != nil {
		return err
	}
	return f.flush(ctx, tx)
}

func (f *filler) flush(ctx context.Context, tx store.Tx) error {
	if f.rows == 0 {
		return nil
	}
	one := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(f.table.Columns)), ", ") + ")"
	query := "INSERT INTO " + quote(f.table.Name) + " (" + quoted(f.table.Columns) + ") VALUES " +
		strings.TrimSuffix(strings.Repeat(one+", ", f.rows), ", ")
	if _, err := tx.Exec(ctx, query, f.pending...); err != nil {
		return fmt.Errorf("write %s: %w", f.table.Name, err)
	}
	f.pending, f.rows, f.bytes = f.pending[:0], 0, 0
	return nil
}

// compare reads everything back, within the transaction.
func (s *Snapshot) compare(ctx context.Context, tx store.Tx, tables []store.Table) error {
	for _, want := range s.Meta.Tables {
		if want.Name == "store_version" {
			continue // a row of it stayed
		}
		at := slices.IndexFunc(tables, func(t store.Table) bool { return t.Name == want.Name })
		if at < 0 {
			return damaged("the table " + want.Name + " is unknown")
		}
		t := store.Table{Name: want.Name}
		for _, name := range want.Columns {
			i := slices.IndexFunc(tables[at].Columns, func(c store.Field) bool { return c.Name == name })
			if i < 0 {
				return damaged("the table " + want.Name + " has no column " + name)
			}
			t.Columns = append(t.Columns, tables[at].Columns[i])
		}
		var total sum
		var rows int64
		err := eachValue(ctx, tx, t, func(row []any) error {
			b, err := appendRow(nil, row)
			total.add(b)
			rows++
			return err
		})
		if err != nil {
			return err
		}
		if rows != want.Rows || total.String() != want.Sum {
			return fault.New(fault.Internal, "the table %s is not what it was in the snapshot; nothing was changed", want.Name)
		}
	}
	return nil
}
