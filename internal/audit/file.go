// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// DefaultMaxSize is when a file is put aside and the next one begun, in bytes.
const DefaultMaxSize = 256 << 20

// Options says where and how to log.
type Options struct {
	Path    string                             // the file; older ones lie beside it as PATH.<last seq>
	Node    string                             // this node's name, in each record
	Now     func() time.Time                   // nil: time.Now
	Seal    func(plain []byte) ([]byte, error) // seals Record.Detail; nil, or answering fault.Sealed: detail is left out
	MinFree uint64                             // bytes the disk must keep free; below, nothing is answered. 0: no check
	MaxSize int64                              // bytes; 0: DefaultMaxSize
}

// File is a Log in a file of JSON lines. Each caller writes its own record; who
// waits for the disk shares one fsync with all that were written before it
// began. Writing goes on meanwhile.
//
// After any error it answers nothing more until the file has been opened again,
// checked, and found to end with the last record that was written; each Append
// tries that.
type File struct {
	o       Options
	syncing sync.Mutex // held during an fsync; taken before mu

	mu     sync.Mutex // held while a record is written
	out    *sink      // nil: failed, or closed
	opened bool       // out has been open once: head must not fall behind
	closed bool
	synced uint64 // all records up to this one are on disk
	lost   uint64 // of those up to this one nobody can say: the file failed after it

	head   atomic.Pointer[Anchor]
	failed atomic.Pointer[fault.Error]
}

var _ Log = (*File)(nil)

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
	f := &File{o: o}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	return f, nil
}

// Close brings what was written to disk and closes the file.
func (f *File) Close() error {
	f.syncing.Lock()
	defer f.syncing.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.out == nil {
		return nil
	}
	if err := f.out.sync(); err != nil {
		return f.fail(err)
	}
	f.synced = f.Head().Seq
	f.out.close()
	f.out = nil
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
	seq, err := f.add(ctx, rec)
	if err != nil || !rec.Sync {
		return err
	}
	return f.sync(seq)
}

// Begin implements Log.
func (f *File) Begin(ctx context.Context, rec Record) (onDisk func() error, err error) {
	seq, err := f.add(ctx, rec)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- f.sync(seq) }()
	return func() error { return <-done }, nil
}

// add writes a record to the file and returns its number.
func (f *File) add(ctx context.Context, rec Record) (seq uint64, err error) {
	if rec.Detail != nil && f.o.Seal != nil {
		sealed, err := f.o.Seal(rec.Detail)
		if err != nil && !fault.Is(err, fault.Sealed) {
			return 0, unavailable("seal audit detail: %w", err)
		}
		rec.Sealed = sealed
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, errClosed()
	}
	if err := f.ready(); err != nil {
		return 0, f.fail(err)
	}
	return f.write(rec)
}

// sync returns when a record is on disk, or nobody can say that it is. Those who
// are about to write a record go first, so that one fsync serves them too.
func (f *File) sync(seq uint64) error {
	f.syncing.Lock()
	defer f.syncing.Unlock()
	runtime.Gosched()
	for {
		f.mu.Lock()
		out, head, lost, synced := f.out, f.Head().Seq, f.lost, f.synced
		f.mu.Unlock()
		switch {
		case seq <= lost:
			return unavailable("the audit record may not be on disk")
		case seq <= synced: // by whoever came first
			return nil
		case out == nil:
			return errClosed()
		}
		f.synchronized(out, head, out.sync())
	}
}

// synchronized notes how an fsync ended that was to bring all up to head to disk.
// Where the file has been put aside meanwhile, that has been done already; where
// it has failed, it is lost already.
func (f *File) synchronized(out *sink, head uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.out != out:
	case err != nil:
		_ = f.fail(err) // those who wait find their records lost
	default:
		f.synced = head
	}
}

func errClosed() error { return fault.New(fault.Unavailable, "the audit log is closed") }

func unavailable(format string, args ...any) *fault.Error {
	return fault.New(fault.Unavailable, format, args...).
		WithHint("without an audit record nothing is answered: check the disk and the rights of the audit file")
}

// ready checks that the file is open, still ours, and has room, and begins the
// next one where it is full.
func (f *File) ready() error {
	if f.out == nil {
		if err := f.reopen(); err != nil {
			return err
		}
	}
	if err := f.out.check(f.o.MinFree); err != nil {
		return err
	}
	if f.out.size < f.o.MaxSize {
		return nil
	}
	if err := f.out.rotate(f.Head().Seq); err != nil {
		return err
	}
	f.synced = f.Head().Seq
	return f.reopen()
}

// write appends a record. One that cannot be encoded is its caller's error, not
// the file's.
func (f *File) write(rec Record) (seq uint64, err error) {
	head := f.Head()
	rec.Seq, rec.Node, rec.Time = head.Seq+1, f.o.Node, f.o.Now().UTC().Round(0)
	line, hash := encode(rec, head.Hash)
	if len(line) > maxLine {
		return 0, fault.New(fault.TooLarge, "an audit record has %d bytes; the limit is %d", len(line), maxLine)
	}
	if err := f.out.append(line); err != nil {
		return 0, f.fail(err)
	}
	f.head.Store(&Anchor{Seq: rec.Seq, Hash: hash, Node: f.o.Node})
	return rec.Seq, nil
}

// fail closes the file; only reopen makes it usable again. A caller that was
// answered already has its record in the file.
func (f *File) fail(err error) *fault.Error {
	failure := asFault(err)
	f.failed.Store(failure)
	f.lost = f.Head().Seq
	if f.out != nil {
		f.out.close()
		f.out = nil
	}
	return failure
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
	for _, e := range found.events {
		if _, err := f.write(Record{Kind: "event", Op: "audit", Actor: "system", Answer: "repaired", Reason: e}); err != nil {
			return err
		}
	}
	if len(found.events) > 0 {
		if err := f.out.sync(); err != nil {
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
