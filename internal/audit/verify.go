// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// maxProblems bounds what Verify reports; a log with more is not looked at further.
const maxProblems = 100

// Result is what Verify found.
type Result struct {
	Records  int
	First    uint64    // number of the first record
	Last     Anchor    // the last record
	Ended    bool      // the last record says that the server stopped
	Problems []Problem // none: the log is sound
}

// Problem is one place where the log is not as it was written.
type Problem struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line"` // from 1; 0: the end of the log
	Seq  uint64 `json:"seq"`
	Text string `json:"text"`
}

// Verify reads a whole log from its first record and reports every record that
// was changed, removed, moved or put in. With an anchor it also finds a cut end
// and a log that was written anew. Its error is about reading only.
func Verify(ctx context.Context, r io.Reader, anchor *Anchor) (Result, error) {
	v := verifier{next: 1}
	if anchor != nil {
		v.anchors = []Anchor{*anchor}
	}
	err := v.read(ctx, r, "")
	v.finish()
	return v.Result, err
}

// VerifyFiles is Verify on the files of one log in order (see Files).
func VerifyFiles(ctx context.Context, paths []string, anchor *Anchor) (Result, error) {
	if anchor == nil {
		return VerifyAgainst(ctx, paths, nil)
	}
	return VerifyAgainst(ctx, paths, []Anchor{*anchor})
}

// VerifyAgainst is VerifyFiles with any number of anchors.
func VerifyAgainst(ctx context.Context, paths []string, anchors []Anchor) (Result, error) {
	v := verifier{anchors: anchors, next: 1}
	for _, path := range paths {
		if err := v.readFile(ctx, path); err != nil {
			return v.Result, err
		}
	}
	v.finish()
	return v.Result, nil
}

type verifier struct {
	Result
	anchors []Anchor
	next    uint64 // the number that should come
	prev    string // the hash it should carry
	file    string
	line    int
}

func (v *verifier) readFile(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.New(fault.NotFound, "read audit log: %w", err)
	}
	defer f.Close()
	return v.read(ctx, f, filepath.Base(path))
}

func (v *verifier) read(ctx context.Context, r io.Reader, file string) error {
	v.file, v.line = file, 0
	in := bufio.NewReaderSize(r, maxLine+1)
	for len(v.Problems) < maxProblems {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := in.ReadSlice('\n')
		v.line++
		switch {
		case err == nil:
			v.record(line[:len(line)-1])
		case errors.Is(err, io.EOF):
			if len(line) > 0 {
				v.problem(v.next, "the last line is torn")
			}
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			v.problem(v.next, "the line is longer than any record")
			return nil
		default:
			return fault.New(fault.Unavailable, "read audit log: %w", err)
		}
	}
	return nil
}

func (v *verifier) problem(seq uint64, format string, args ...any) {
	if len(v.Problems) < maxProblems {
		v.Problems = append(v.Problems, Problem{File: v.file, Line: v.line, Seq: seq, Text: fmt.Sprintf(format, args...)})
	}
}

// record checks one line against the one before. After a problem it goes on
// from what it read, so that one change is reported once or twice, not for
// every record that follows.
func (v *verifier) record(line []byte) {
	rec, err := decode(line)
	if errors.Is(err, errNoRecord) {
		v.problem(v.next, "this line is not an audit record")
		return
	}
	if v.Records == 0 {
		v.First = rec.Seq
	}
	v.Records++
	switch {
	case err != nil:
		v.problem(rec.Seq, "record %d was changed: %s", rec.Seq, err)
	case rec.Seq > v.next:
		v.problem(rec.Seq, "records %d to %d are missing before this one", v.next, rec.Seq-1)
	case rec.Seq < v.next:
		v.problem(rec.Seq, "record %d stands where %d should: it was put in or moved", rec.Seq, v.next)
	case rec.Prev != v.prev:
		v.problem(rec.Seq, "record %d does not follow the one before it: that one was changed or replaced", rec.Seq)
	}
	for _, a := range v.anchors {
		if rec.Seq == a.Seq && rec.Hash != a.Hash {
			v.problem(rec.Seq, "record %d is not the one the anchor names: the log was written anew", rec.Seq)
		}
	}
	v.next, v.prev = rec.Seq+1, rec.Hash
	v.Ended = rec.Kind == "event" && rec.Op == OpEnd
	v.Last = Anchor{Seq: rec.Seq, Hash: rec.Hash, Node: rec.Node}
}

func (v *verifier) finish() {
	v.line = 0
	for _, a := range v.anchors {
		if a.Seq > v.Last.Seq {
			v.problem(a.Seq, "the log was cut: it ends at record %d, but record %d was written", v.Last.Seq, a.Seq)
		}
	}
}
