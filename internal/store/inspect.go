// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package store

import "context"

// Inspector shows what a store holds as a whole, for copies of all of it.
type Inspector interface {
	// Tables lists all tables by name, with their columns, but for those the
	// variant keeps for itself.
	Tables(ctx context.Context, tx Tx) ([]Table, error)
	// Adapt turns a step of Migrate into the variant's dialect.
	Adapt(step string) string
}

// Table is a table as it is.
type Table struct {
	Name    string
	Columns []Field
}

// Field is a column of a table.
type Field struct {
	Name  string
	Bytes bool // declared as BLOB
}

// ReadTables makes tables of a query's rows: table, column, and whether it holds
// bytes, ordered by table. It is for the variants.
func ReadTables(ctx context.Context, tx Tx, query string) (all []Table, err error) {
	err = Each(ctx, tx, func(r Row) error {
		var table string
		var c Field
		if err := r.Scan(&table, &c.Name, &c.Bytes); err != nil {
			return err
		}
		if len(all) == 0 || all[len(all)-1].Name != table {
			all = append(all, Table{Name: table})
		}
		last := &all[len(all)-1]
		last.Columns = append(last.Columns, c)
		return nil
	}, query)
	return all, err
}
