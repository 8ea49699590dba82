// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package unix measures plain processes: those of no container runtime, known by
// the SHA-256 of their executable.
//
// The digest covers the one file the kernel was told to run. It does not cover
// shared libraries (reported as Dynamic), what an interpreter is given to read,
// or what a process of the same user does to it.
package unix

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// maxProgram bounds the size of an executable, in bytes.
const maxProgram = 2 << 30

// Processes measures plain processes. The zero value is ready.
type Processes struct{}

// Measure hashes the executable of p. A process in another mount namespace than
// this one, or under a debugger, is refused.
func (Processes) Measure(ctx context.Context, p *attest.Peer) (*attest.Program, error) {
	same, err := p.SameNamespace("mnt")
	if err != nil {
		return nil, err
	}
	if !same {
		return nil, fault.New(fault.Refused, "the process runs in a container of a runtime this agent does not know").
			WithHint("tell the agent about the runtime's socket, or run the program outside a container")
	}
	tracer, err := p.Tracer()
	if err != nil {
		return nil, fault.New(fault.Refused, "look for a debugger: %w", err)
	}
	if tracer != 0 {
		return nil, fault.New(fault.Refused, "process %d is attached to it as a debugger", tracer).
			WithHint("a debugger can read secrets: run the program without one")
	}
	exe, err := p.Open("exe")
	if err != nil {
		return nil, err
	}
	program, err := MeasureFile(ctx, exe)
	if err := errors.Join(err, exe.Close(), p.Alive()); err != nil {
		return nil, err
	}
	return program, nil
}

// MeasureFile hashes an open ELF executable without moving its position.
func MeasureFile(ctx context.Context, f *os.File) (*attest.Program, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fault.New(fault.Internal, "look at the executable: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxProgram {
		return nil, fault.New(fault.Refused, "the executable is no plain file of at most %d bytes", maxProgram)
	}
	dynamic, err := isDynamic(f)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	n, err := io.Copy(hash, &reader{ctx: ctx.Err, r: io.NewSectionReader(f, 0, maxProgram)})
	if err != nil {
		return nil, fault.New(fault.Internal, "read the executable: %w", err)
	}
	if n != info.Size() {
		return nil, fault.New(fault.Refused, "the executable changed while it was read")
	}
	return &attest.Program{
		Digest:  "sha256:" + hex.EncodeToString(hash.Sum(nil)),
		Name:    programName(f),
		Dynamic: dynamic,
	}, nil
}

// isDynamic says whether the program asks for a loader (PT_INTERP), which then
// runs shared libraries that the digest knows nothing of.
func isDynamic(f *os.File) (bool, error) {
	program, err := elf.NewFile(f)
	if err != nil {
		return false, fault.New(fault.Refused, "the program is no ELF executable: %w", err).
			WithHint("a script is run by its interpreter, whose digest says nothing about the script: use a compiled program or a container")
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			return true, nil
		}
	}
	return false, nil
}

// programName is what the kernel calls the file, for people.
func programName(f *os.File) string {
	raw, err := f.SyscallConn()
	if err != nil {
		return ""
	}
	name := ""
	_ = raw.Control(func(fd uintptr) {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", strconv.FormatUint(uint64(fd), 10)))
		if err == nil {
			name = filepath.Base(strings.TrimSuffix(target, " (deleted)"))
		}
	})
	return strings.TrimPrefix(name, "memfd:")
}

// reader stops between two reads once the caller has gone away.
type reader struct {
	ctx func() error
	r   io.Reader
}

// Read reads, unless the caller has gone away.
func (r *reader) Read(b []byte) (int, error) {
	if err := r.ctx(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}
