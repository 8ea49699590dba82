// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Snapshot is one that was read and found whole: every hash fits.
type Snapshot struct {
	Meta  Meta
	state *os.File
	sums  []byte
	proof []byte
}

// The most the small parts may have, in bytes.
const (
	maxMeta = 8 << 20
	maxSums = 4 << 10
)

// Open reads a snapshot to a file without a name in dir and checks all of it.
// Close it.
func Open(r io.Reader, dir string, room func() error) (_ *Snapshot, err error) {
	state, err := nameless(dir)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{state: state}
	if err := s.read(r, room); err != nil {
		return nil, errors.Join(err, state.Close())
	}
	if err := s.checkState(); err != nil {
		return nil, errors.Join(err, state.Close())
	}
	return s, nil
}

// Close gives up the file.
func (s *Snapshot) Close() error { return s.state.Close() }

func (s *Snapshot) read(r io.Reader, room func() error) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return fault.New(fault.Invalid, "this is no snapshot: it is not compressed with gzip")
	}
	archive := tar.NewReader(unzipped)
	meta, err := part(archive, metaName, maxMeta)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(meta, &s.Meta); err != nil {
		return fault.New(fault.Invalid, "this is no snapshot of Goldkeep: %s is not understood", metaName).
			WithHint("snapshots of other products cannot be restored")
	}
	if s.Meta.Format != Format {
		return fault.New(fault.Invalid, "the snapshot has format %d; this program reads %d", s.Meta.Format, Format)
	}
	if err := s.readState(archive, room); err != nil {
		return err
	}
	if s.sums, err = part(archive, sumsName, maxSums); err != nil {
		return err
	}
	if s.proof, err = part(archive, sealedName, maxSums); err != nil {
		return err
	}
	if want := fmt.Sprintf("%x  %s\n%s  %s\n", sha256.Sum256(meta), metaName, s.Meta.SHA256, stateName); want != string(s.sums) {
		return damaged("its hashes do not fit")
	}
	if _, err := archive.Next(); err != io.EOF {
		return damaged("something follows its end")
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(unzipped, maxMeta)); err != nil { // gzip's own checksum
		return damaged("it is not whole")
	}
	return nil
}

func next(archive *tar.Reader, name string) error {
	head, err := archive.Next()
	if err != nil || head.Typeflag != tar.TypeReg || head.Name != name {
		return damaged(name + " is not where it should be")
	}
	return nil
}

func part(archive *tar.Reader, name string, limit int64) ([]byte, error) {
	if err := next(archive, name); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(archive, limit+1))
	if err != nil || int64(len(b)) > limit {
		return nil, damaged(name + " is too large or not whole")
	}
	return b, nil
}

func (s *Snapshot) readState(archive *tar.Reader, room func() error) error {
	if err := next(archive, stateName); err != nil {
		return err
	}
	hash := sha256.New()
	count := &counter{to: io.MultiWriter(s.state, hash), room: room}
	_, err := io.Copy(count, io.LimitReader(archive, s.Meta.Size+1))
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case err != nil:
		return damaged("it is not whole")
	case count.n != s.Meta.Size || hex.EncodeToString(hash.Sum(nil)) != s.Meta.SHA256:
		return damaged("its content does not fit its hash")
	}
	return nil
}

// checkState reads all rows and compares them with what meta says.
func (s *Snapshot) checkState() error {
	if _, err := s.state.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var at int
	var total sum
	var rows int64
	ends := func() error {
		if at > 0 && (s.Meta.Tables[at-1].Rows != rows || s.Meta.Tables[at-1].Sum != total.String()) {
			return damaged("the rows of " + s.Meta.Tables[at-1].Name + " are not those it names")
		}
		total, rows = sum{}, 0
		return nil
	}
	err := eachRow(s.state, func(name string, columns []string) error {
		if err := ends(); err != nil {
			return err
		}
		if at >= len(s.Meta.Tables) || s.Meta.Tables[at].Name != name || len(s.Meta.Tables[at].Columns) != len(columns) {
			return damaged("its tables are not those it names")
		}
		at++
		return nil
	}, func(row []any) error {
		b, err := appendRow(nil, row)
		total.add(b)
		rows++
		return err
	})
	if err != nil {
		return err
	}
	if at != len(s.Meta.Tables) {
		return damaged("tables are missing")
	}
	return ends()
}

// MadeBy reports whether a server with this seal made the snapshot, and nobody
// changed it since. fault.Sealed: nobody can say.
func (s *Snapshot) MadeBy(seal Seal) (bool, error) { return proves(seal, s.sums, s.proof) }
