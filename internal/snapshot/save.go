// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// About is what the caller knows of a snapshot to be made.
type About struct {
	Version, Node, Cluster, Store string

	Seal Seal         // proves later who made it
	Dir  string       // where to write
	Room func() error // asked now and then whether the disk has room for more; nil: never
}

// Save writes a snapshot of st to a file without a name open at its
// beginning; closing it removes it. All is as it was at one point in time, while
// others go on writing.
func Save(ctx context.Context, st Source, about About) (_ *os.File, _ Meta, err error) {
	state, err := nameless(about.Dir)
	if err != nil {
		return nil, Meta{}, err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	meta := Meta{Format: Format, Version: about.Version, Time: st.Now(), Node: about.Node, Cluster: about.Cluster, Store: about.Store}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, meta, fmt.Errorf("make id: %w", err)
	}
	meta.ID = hex.EncodeToString(id)
	err = st.View(ctx, func(tx store.Tx) error { return (&dumper{st, tx, state, about.Room}).dump(ctx, &meta) })
	if err != nil {
		return nil, meta, err
	}
	out, err := nameless(about.Dir)
	if err != nil {
		return nil, meta, err
	}
	if err := pack(out, state, meta, about); err != nil {
		return nil, meta, errors.Join(err, out.Close())
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return nil, meta, errors.Join(err, out.Close())
	}
	return out, meta, nil
}

// nameless is a file that is gone when it is closed, or the process ends.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".snapshot-")
	if err != nil {
		return nil, fault.New(fault.Unavailable, "make snapshot: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// dumper reads a store within one transaction.
type dumper struct {
	st    Source
	tx    store.Tx
	state *os.File
	room  func() error
}

// dump writes state.bin and fills in what meta says of it. It may run more than
// once.
func (d *dumper) dump(ctx context.Context, meta *Meta) error {
	if _, err := d.state.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := d.state.Truncate(0); err != nil {
		return err
	}
	hash := sha256.New()
	count := &counter{to: io.MultiWriter(d.state, hash), room: d.room}
	out := bufio.NewWriterSize(count, 1<<20)
	var err error
	if meta.Rooms, err = rooms(ctx, d.tx); err != nil {
		return err
	}
	tables, err := d.st.Tables(ctx, d.tx)
	if err != nil {
		return err
	}
	meta.Tables, meta.Audit = nil, nil
	for _, t := range tables {
		if t.Name == anchors {
			if meta.Audit, err = readAnchors(ctx, d.tx); err != nil {
				return err
			}
			continue
		}
		done, err := dumpTable(ctx, d.tx, out, t)
		if err != nil {
			return fmt.Errorf("copy %s: %w", t.Name, err)
		}
		meta.Tables = append(meta.Tables, done)
	}
	if err := out.WriteByte(markEnd); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fault.New(fault.Unavailable, "write snapshot: %w", err)
	}
	meta.Size, meta.SHA256 = count.n, hex.EncodeToString(hash.Sum(nil))
	return nil
}

func dumpTable(ctx context.Context, tx store.Tx, out *bufio.Writer, t store.Table) (Table, error) {
	done := Table{Name: t.Name}
	head := append([]byte{markTable}, binary.AppendUvarint(nil, uint64(len(t.Name)))...)
	head = binary.AppendUvarint(append(head, t.Name...), uint64(len(t.Columns)))
	for _, c := range t.Columns {
		done.Columns = append(done.Columns, c.Name)
		head = append(binary.AppendUvarint(head, uint64(len(c.Name))), c.Name...)
	}
	if _, err := out.Write(head); err != nil {
		return done, err
	}
	var total sum
	err := eachValue(ctx, tx, t, func(row []any) error {
		b, err := appendRow(nil, row)
		if err != nil {
			return err
		}
		total.add(b)
		done.Rows++
		if err := out.WriteByte(markRow); err != nil {
			return err
		}
		_, err = out.Write(b)
		return err
	})
	done.Sum = total.String()
	return done, err
}

// eachValue calls fn with every row of a table.
func eachValue(ctx context.Context, tx store.Tx, t store.Table, fn func([]any) error) error {
	values, targets := make([]any, len(t.Columns)), make([]any, len(t.Columns))
	for i := range values {
		targets[i] = &values[i]
	}
	return store.Each(ctx, tx, func(r store.Row) error {
		if err := r.Scan(targets...); err != nil {
			return err
		}
		for i := range values {
			values[i] = normal(values[i], t.Columns[i])
		}
		return fn(values)
	}, "SELECT "+quoted(t.Columns)+" FROM "+quote(t.Name))
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoted(columns []store.Field) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = quote(c.Name)
	}
	return strings.Join(names, ", ")
}

func readAnchors(ctx context.Context, tx store.Tx) (all []Anchor, err error) {
	err = store.Each(ctx, tx, func(r store.Row) error {
		var text string
		if err := r.Scan(&text); err != nil {
			return err
		}
		var a Anchor
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			return fmt.Errorf("decode anchor: %w", err)
		}
		all = append(all, a)
		return nil
	}, "SELECT body FROM "+anchors+" ORDER BY node")
	return all, err
}

// counter counts what goes through it, and asks now and then for room.
type counter struct {
	to    io.Writer
	room  func() error
	n     int64
	asked int64
}

// roomEvery is how many bytes are written between two questions for room.
const roomEvery = 8 << 20

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	if c.room != nil && c.n-c.asked >= roomEvery {
		c.asked = c.n
		if err := c.room(); err != nil {
			return 0, err
		}
	}
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// The names in the archive.
const (
	metaName   = "meta.json"
	stateName  = "state.bin"
	sumsName   = "SHA256SUMS"
	sealedName = "SHA256SUMS.sealed"
)

// pack writes the archive.
func pack(to io.Writer, state *os.File, meta Meta, about About) error {
	zipped, err := gzip.NewWriterLevel(&counter{to: to, room: about.Room}, gzip.BestSpeed)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zipped)
	text, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return err
	}
	hashed := sha256.Sum256(text)
	sums := fmt.Appendf(nil, "%x  %s\n%s  %s\n", hashed, metaName, meta.SHA256, stateName)
	proof := []byte("none: the server was sealed\n")
	if mac, err := about.Seal.MAC(purpose, sums); err == nil {
		proof = fmt.Appendf(nil, "hmac-sha256:%x\n", mac)
	} else if !fault.Is(err, fault.Sealed) {
		return err
	}
	if _, err := state.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		size int64
		from io.Reader
	}{
		{metaName, int64(len(text)), strings.NewReader(string(text))},
		{stateName, meta.Size, state},
		{sumsName, int64(len(sums)), strings.NewReader(string(sums))},
		{sealedName, int64(len(proof)), strings.NewReader(string(proof))},
	} {
		if err := archive.WriteHeader(&tar.Header{Name: part.name, Mode: 0o600, Size: part.size, ModTime: meta.Time, Typeflag: tar.TypeReg}); err != nil {
			return fault.New(fault.Unavailable, "write snapshot: %w", err)
		}
		if _, err := io.Copy(archive, part.from); err != nil {
			return fault.New(fault.Unavailable, "write snapshot: %w", err)
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		return fault.New(fault.Unavailable, "write snapshot: %w", err)
	}
	return nil
}

// proves reports whether the sealed sums are of a server with this seal.
func proves(seal Seal, sums, proof []byte) (bool, error) {
	mac, err := seal.MAC(purpose, sums)
	if err != nil {
		return false, err
	}
	return hmac.Equal(fmt.Appendf(nil, "hmac-sha256:%x\n", mac), proof), nil
}
