// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// DefaultMaxSize is when a file is put aside and the next one begun, in bytes.
const DefaultMaxSize = 256 << 20

// maxBatch is how many records are written at once.
const maxBatch = 512

// Options says where and how to log.
type Options struct {
	Path    string                             // the file; older ones lie beside it as PATH.<last seq>
	Node    string                             // this node's name, in each record
	Now     func() time.Time                   // nil: time.Now
	Seal    func(plain []byte) ([]byte, error) // seals Record.Detail; nil, or answering fault.Sealed: detail is left out
	MinFree uint64                             // bytes the disk must keep free; below, nothing is answered. 0: no check
	MaxSize int64                              // bytes; 0: DefaultMaxSize
}

// File is a Log in a file of JSON lines. One goroutine writes: whatever has
// come in while it was busy goes out in one write, and one fsync where a record
// asked for it.
//
// After any error it answers nothing more until the file has been opened again,
// checked, and found to end with the last record that was written; each Append
// tries that.
type File struct {
	o    Options
	jobs chan *job
	quit chan struct{}
	done chan struct{}
	stop sync.Once

	head   atomic.Pointer[Anchor]
	failed atomic.Pointer[fault.Error]

	out    *sink // the writer goroutine's own
	opened bool  // out has been open once: head must not fall behind
}

var _ Log = (*File)(nil)

// job is one record on its way.
type job struct {
	rec  Record
	done chan error
}

// Open opens or creates the log and repairs a torn end. The file's mode is 0600.
// It fails where the log cannot be written, is held by another process, or does
// not end in a record.
func Open(o Options) (*File, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxSize <= 0 {
		o.MaxSize = DefaultMaxSize
	}
	f := &File{o: o, jobs: make(chan *job, maxBatch), quit: make(chan struct{}), done: make(chan struct{})}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	go f.run()
	return f, nil
}

// Close writes what has come in and closes the file.
func (f *File) Close() error {
	f.stop.Do(func() { close(f.quit) })
	<-f.done
	return nil
}

// Head is the last record written: keep it apart from the log as an Anchor.
func (f *File) Head() Anchor { return *f.head.Load() }

// Err says why nothing can be logged at the moment, or nil.
func (f *File) Err() error {
	if err := f.failed.Load(); err != nil {
		return err
	}
	return nil
}

// Append implements Log. All its errors mean: do not answer.
func (f *File) Append(ctx context.Context, rec Record) error {
	if rec.Detail != nil && f.o.Seal != nil {
		sealed, err := f.o.Seal(rec.Detail)
		if err != nil && !fault.Is(err, fault.Sealed) {
			return unavailable("seal audit detail: %w", err)
		}
		rec.Sealed = sealed
	}
	j := &job{rec: rec, done: make(chan error, 1)}
	select {
	case f.jobs <- j:
	case <-f.done:
		return errClosed()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-j.done:
		return err
	case <-f.done:
		select {
		case err := <-j.done:
			return err
		default:
			return errClosed()
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

func errClosed() error { return fault.New(fault.Unavailable, "the audit log is closed") }

func unavailable(format string, args ...any) *fault.Error {
	return fault.New(fault.Unavailable, format, args...).
		WithHint("without an audit record nothing is answered: check the disk and the rights of the audit file")
}

// run is the writer.
func (f *File) run() {
	defer close(f.done)
	defer func() {
		if f.out != nil {
			f.out.close()
		}
	}()
	for {
		select {
		case j := <-f.jobs:
			f.writeBatch(f.collect(j))
		case <-f.quit:
			for len(f.jobs) > 0 {
				f.writeBatch(f.collect(<-f.jobs))
			}
			return
		}
	}
}

// collect takes what else is waiting.
func (f *File) collect(first *job) []*job {
	batch := []*job{first}
	for len(batch) < maxBatch {
		select {
		case j := <-f.jobs:
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

func (f *File) writeBatch(batch []*job) {
	waiting, err := f.tryBatch(batch)
	if err == nil {
		return
	}
	// A caller that was answered already has its record in the file.
	failure := asFault(err)
	f.fail(failure)
	for _, j := range waiting {
		j.done <- failure
	}
}

// tryBatch writes a batch and answers its jobs; with an error it returns those
// that have not been answered.
func (f *File) tryBatch(batch []*job) (waiting []*job, err error) {
	if f.out == nil {
		if err := f.reopen(); err != nil {
			return batch, err
		}
	}
	if err := f.ready(); err != nil {
		return batch, err
	}
	recs := make([]Record, 0, len(batch))
	for _, j := range batch {
		recs = append(recs, j.rec)
	}
	bad, err := f.write(recs)
	if err != nil {
		return batch, err
	}
	for i, j := range batch {
		switch {
		case bad[i] != nil:
			j.done <- bad[i]
		case j.rec.Sync:
			waiting = append(waiting, j)
		default:
			j.done <- nil
		}
	}
	if len(waiting) > 0 {
		if err := f.out.sync(); err != nil {
			return waiting, err
		}
	}
	for _, j := range waiting {
		j.done <- nil
	}
	return nil, nil
}

// ready checks that the file is still ours, has room, and begins the next one
// where it is full.
func (f *File) ready() error {
	if err := f.out.check(f.o.MinFree); err != nil {
		return err
	}
	if f.out.size < f.o.MaxSize {
		return nil
	}
	if err := f.out.rotate(f.Head().Seq); err != nil {
		return err
	}
	return f.reopen()
}

// write appends records in one write. Those that cannot be encoded get an error
// of their own in bad, by index.
func (f *File) write(recs []Record) (bad map[int]error, err error) {
	var lines []byte
	head := f.Head()
	for i, rec := range recs {
		rec.Seq, rec.Node, rec.Time = head.Seq+1, f.o.Node, f.o.Now().UTC().Round(0)
		line, hash, err := encode(rec, head.Hash)
		if err == nil && len(line) > maxLine {
			err = fault.New(fault.TooLarge, "an audit record has %d bytes; the limit is %d", len(line), maxLine)
		}
		if err != nil {
			if bad == nil {
				bad = map[int]error{}
			}
			bad[i] = err
			continue
		}
		lines = append(lines, line...)
		head = Anchor{Seq: rec.Seq, Hash: hash, Node: f.o.Node}
	}
	if err := f.out.append(lines); err != nil {
		return bad, err
	}
	f.head.Store(&head)
	return bad, nil
}

// fail closes the file; only reopen makes it usable again.
func (f *File) fail(err *fault.Error) {
	f.failed.Store(err)
	if f.out != nil {
		f.out.close()
		f.out = nil
	}
}

// reopen opens the file and continues its chain. What was found on the way
// becomes the first new record.
func (f *File) reopen() error {
	if f.out != nil {
		f.out.close()
		f.out = nil
	}
	out, found, err := openSink(f.o.Path)
	if err != nil {
		return err
	}
	head, err := f.continueFrom(out, &found)
	if err != nil {
		out.close()
		return err
	}
	f.out = out
	f.head.Store(&head)
	if f.failed.Load() != nil {
		found.events = append(found.events, eventRecovered)
	}
	if len(found.events) > 0 {
		var recs []Record
		for _, e := range found.events {
			recs = append(recs, Record{Kind: "event", Op: "audit", Actor: "system", Answer: "repaired", Reason: e})
		}
		if _, err := f.write(recs); err == nil {
			err = f.out.sync()
		}
		if err != nil {
			return err
		}
	}
	f.opened = true
	f.failed.Store(nil)
	return nil
}

// The reasons in records the log writes about itself.
const (
	eventTorn      = "torn last line moved aside"
	eventRecovered = "log was not writable for a time"
	eventMissing   = "log file was gone and begun anew"
)

// continueFrom decides after which record to go on. Within one run the file
// must end in what was last written, or be missing as a whole.
func (f *File) continueFrom(out *sink, found *finding) (Anchor, error) {
	if !f.opened {
		return found.head, nil
	}
	have := f.Head()
	switch {
	case found.head.Seq == have.Seq && found.head.Hash == have.Hash:
		return have, nil
	case found.inFile && out.holds(have):
		// The write that failed had reached the file all the same; its callers
		// got an error, and a record without an answer is no harm.
		return found.head, nil
	case !found.inFile:
		found.events = append(found.events, eventMissing)
		return have, nil
	}
	return Anchor{}, unavailable("the audit log does not end in the record last written (%d); move the file aside to begin a new one", have.Seq)
}

func asFault(err error) *fault.Error {
	var e *fault.Error
	if errors.As(err, &e) {
		return e
	}
	return unavailable("write audit log: %w", err)
}
