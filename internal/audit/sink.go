// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// sink is the open file: it knows bytes and lines, not the chain.
type sink struct {
	path string
	file *os.File
	id   syscall.Stat_t // which file it is
	size int64
}

// finding is what was there when the file was opened.
type finding struct {
	head   Anchor   // the last record, of this file or of the newest one put aside
	inFile bool     // head is in this file
	events []string // what had to be repaired
}

// openSink opens or creates the file, locks it, and moves a torn last line aside.
func openSink(path string) (*sink, finding, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, finding{}, unavailable("open audit log: %w", err)
	}
	s := &sink{path: path, file: file}
	found, err := s.begin()
	if err != nil {
		s.close()
		return nil, finding{}, err
	}
	return s, found, nil
}

func (s *sink) begin() (finding, error) {
	info, err := s.file.Stat()
	if err != nil {
		return finding{}, unavailable("read audit log: %w", err)
	}
	if !info.Mode().IsRegular() {
		return finding{}, unavailable("the audit log %s is not a regular file", filepath.Base(s.path))
	}
	if err := syscall.Flock(int(s.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return finding{}, unavailable("lock audit log: %w", err).WithHint("another process writes this audit log; give each its own")
	}
	if err := s.file.Chmod(0o600); err != nil {
		return finding{}, unavailable("protect audit log: %w", err)
	}
	if err := syscall.Fstat(int(s.file.Fd()), &s.id); err != nil {
		return finding{}, unavailable("read audit log: %w", err)
	}
	s.size = info.Size()
	if err := syncDir(filepath.Dir(s.path)); err != nil {
		return finding{}, unavailable("sync audit folder: %w", err)
	}
	var found finding
	if torn, err := s.moveTornLine(); err != nil {
		return finding{}, err
	} else if torn {
		found.events = append(found.events, eventTorn)
	}
	if s.size > 0 {
		found.inFile = true
		found.head, err = lastRecord(s.file, s.size)
		return found, err
	}
	found.head, err = newestAside(s.path)
	return found, err
}

// tail reads the end of a file, at most two lines' worth.
func tail(r io.ReaderAt, size int64) ([]byte, error) {
	n := min(size, 2*maxLine)
	buf := make([]byte, n)
	_, err := r.ReadAt(buf, size-n)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, unavailable("read audit log: %w", err)
	}
	return buf, nil
}

// moveTornLine saves what follows the last newline in a file of its own and
// cuts it off here.
func (s *sink) moveTornLine() (bool, error) {
	buf, err := tail(s.file, s.size)
	if err != nil {
		return false, err
	}
	end := bytes.LastIndexByte(buf, '\n') + 1
	if end == len(buf) {
		return false, nil
	}
	if end == 0 && int64(len(buf)) < s.size {
		return false, unavailable("the end of the audit log is not an audit log; move the file aside to begin a new one")
	}
	keep := s.size - int64(len(buf)-end)
	aside := s.path + ".torn." + strconv.FormatInt(keep, 10)
	if err := os.WriteFile(aside, buf[end:], 0o600); err != nil {
		return false, unavailable("save torn audit line: %w", err)
	}
	if err := s.cut(keep); err != nil {
		return false, unavailable("repair audit log: %w", err)
	}
	return true, nil
}

// cut shortens the file to its first n bytes.
func (s *sink) cut(n int64) error {
	if err := s.file.Truncate(n); err != nil {
		return err
	}
	s.size = n
	return s.file.Sync()
}

func lastRecord(r io.ReaderAt, size int64) (Anchor, error) {
	buf, err := tail(r, size)
	if err != nil {
		return Anchor{}, err
	}
	buf = bytes.TrimSuffix(buf, []byte("\n"))
	rec, err := decode(buf[bytes.LastIndexByte(buf, '\n')+1:])
	if err != nil {
		return Anchor{}, unavailable("the last audit record is damaged: %w", err).
			WithHint(`run "goldkeep audit verify", then move the file aside to begin a new one`)
	}
	return Anchor{Seq: rec.Seq, Hash: rec.Hash, Node: rec.Node}, nil
}

// holds reports whether the file has the record an anchor names.
func (s *sink) holds(a Anchor) bool {
	buf, err := tail(s.file, s.size)
	if err != nil {
		return false
	}
	return a.Seq == 0 || bytes.Contains(buf, []byte(hashOpen+a.Hash+hashEnd))
}

// append writes lines in one write. After a short write the part that got
// through is cut off again, so that nothing ever follows half a line.
func (s *sink) append(lines []byte) error {
	n, err := s.file.Write(lines)
	if err != nil || n < len(lines) {
		if n > 0 {
			err = errors.Join(err, s.cut(s.size))
		}
		return unavailable("write audit log: %w", err)
	}
	s.size += int64(n)
	return nil
}

func (s *sink) sync() error {
	if err := s.file.Sync(); err != nil {
		return unavailable("sync audit log: %w", err)
	}
	return nil
}

// check finds out whether the path still leads to this file, untouched, and
// whether the disk has room.
func (s *sink) check(minFree uint64) error {
	var now syscall.Stat_t
	if err := syscall.Lstat(s.path, &now); err != nil || now.Dev != s.id.Dev || now.Ino != s.id.Ino {
		return unavailable("the audit log was moved or deleted while in use")
	}
	if now.Size != s.size {
		return unavailable("the audit log was changed by somebody else while in use")
	}
	if minFree == 0 {
		return nil
	}
	var fs syscall.Statfs_t
	if err := syscall.Fstatfs(int(s.file.Fd()), &fs); err != nil {
		return unavailable("look at the audit disk: %w", err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < minFree {
		return unavailable("the audit disk has %d bytes free; %d are kept in reserve", free, minFree)
	}
	return nil
}

func (s *sink) close() { _ = s.file.Close() }

// rotate puts the file aside under the number of its last record.
func (s *sink) rotate(last uint64) error {
	if err := s.sync(); err != nil {
		return err
	}
	if err := os.Rename(s.path, fmt.Sprintf("%s.%020d", s.path, last)); err != nil {
		return unavailable("put audit log aside: %w", err)
	}
	return syncDir(filepath.Dir(s.path))
}

// Files lists a log's files in order, the current one last.
func Files(path string) ([]string, error) {
	aside, err := filesAside(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err == nil {
		aside = append(aside, path)
	}
	return aside, nil
}

func filesAside(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, unavailable("list audit folder: %w", err)
	}
	var names []string
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		if ok && len(number) == 20 && strings.Trim(number, "0123456789") == "" {
			names = append(names, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	slices.Sort(names)
	return names, nil
}

// newestAside is the last record of the newest file put aside.
func newestAside(path string) (Anchor, error) {
	names, err := filesAside(path)
	if err != nil || len(names) == 0 {
		return Anchor{}, err
	}
	f, err := os.Open(names[len(names)-1])
	if err != nil {
		return Anchor{}, unavailable("read older audit log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Anchor{}, unavailable("read older audit log: %w", err)
	}
	return lastRecord(f, info.Size())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
