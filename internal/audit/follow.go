// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// follower reads a log's lines in order while it is written, across the files
// that are put aside.
type follower struct {
	path  string // of the log
	after uint64 // the last record read
	file  *os.File
	at    int64 // where in file to go on
}

// The most that is read at once: lines, and bytes (at least one line fits).
const (
	batchLines = 512
	batchBytes = 2 * maxLine
)

// next returns the lines after the last one returned; none: there is nothing new.
func (f *follower) next() ([][]byte, error) {
	for {
		if f.file == nil {
			if err := f.open(); err != nil {
				return nil, err
			}
		}
		lines, end, err := f.read()
		if err != nil || len(lines) > 0 || !end {
			return lines, err
		}
	}
}

// read returns what is new in the open file. end: the file has been put aside
// and read to its end, and was closed.
func (f *follower) read() (lines [][]byte, end bool, err error) {
	aside := f.aside() // asked first: what is written before is then seen below
	buf := make([]byte, batchBytes)
	n, err := f.file.ReadAt(buf, f.at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, unavailable("read audit log: %w", err)
	}
	buf = buf[:n]
	for len(lines) < batchLines {
		i := bytes.IndexByte(buf, '\n')
		if i < 0 {
			break
		}
		line := buf[: i+1 : i+1]
		buf, f.at = buf[i+1:], f.at+int64(i)+1
		if seq := seqOf(line); seq > f.after {
			lines, f.after = append(lines, line), seq
		}
	}
	if len(lines) > 0 || len(buf) < n {
		return lines, false, nil // there may be more
	}
	if n == batchBytes {
		return nil, false, unavailable("the audit log holds a line longer than any record")
	}
	if !aside {
		return nil, false, nil // at most half a line, which is being written
	}
	f.close()
	return nil, true, nil
}

// aside reports whether the log goes on in another file.
func (f *follower) aside() bool {
	here, err := f.file.Stat()
	if err != nil {
		return true
	}
	there, err := os.Stat(f.path)
	return err == nil && !os.SameFile(here, there)
}

// open opens the oldest file that holds a record not read yet.
func (f *follower) open() error {
	name := f.path
	older, err := filesAside(f.path)
	if err != nil {
		return err
	}
	for _, file := range older {
		last, err := strconv.ParseUint(strings.TrimPrefix(filepath.Ext(file), "."), 10, 64)
		if err == nil && last > f.after {
			name = file
			break
		}
	}
	f.file, err = os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return unavailable("the audit log is not there")
	}
	if err != nil {
		return unavailable("read audit log: %w", err)
	}
	f.at = 0
	return nil
}

func (f *follower) close() {
	if f.file != nil {
		_ = f.file.Close() // only read
		f.file = nil
	}
}

// seqOf is the number of a record's line, 0 where it is none.
func seqOf(line []byte) uint64 {
	rest, ok := bytes.CutPrefix(line, []byte(`{"seq":`))
	if !ok {
		return 0
	}
	digits, _, _ := bytes.Cut(rest, []byte(","))
	seq, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return 0
	}
	return seq
}

// HashOf finds the hash of one record of the log at path; not found where the
// file that held it is gone.
func HashOf(path string, seq uint64) (hash string, found bool, err error) {
	if seq == 0 {
		return "", false, nil
	}
	f := &follower{path: path, after: seq - 1}
	defer f.close()
	for {
		at := f.after
		lines, err := f.next()
		if err != nil {
			return "", false, err
		}
		if len(lines) > 0 {
			rec, err := decode(lines[0][:len(lines[0])-1])
			return rec.Hash, rec.Seq == seq && !errors.Is(err, errNoRecord), nil
		}
		if f.done(at) {
			return "", false, nil
		}
	}
}

// done reports whether the last next found the end of the log, not just of what
// it had read.
func (f *follower) done(before uint64) bool {
	info, err := f.file.Stat()
	return err != nil || f.at >= info.Size() || f.after != before
}
