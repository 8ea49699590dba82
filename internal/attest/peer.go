// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// UnixConn is the part of *net.UnixConn needed here.
type UnixConn interface {
	SyscallConn() (syscall.RawConn, error)
}

// Peer is a process, held by a pidfd: it cannot be mistaken for a later process
// with the same pid.
type Peer struct {
	PID       int
	UID       uint32
	GID       uint32
	StartTime uint64 // clock ticks since boot

	pidfd *os.File
	done  chan struct{}
	watch sync.Once
	wait  sync.WaitGroup
}

// PeerOf returns the process that made the connection at the other end of conn
// (SO_PEERCRED, SO_PEERPIDFD; Linux 6.5 or later). If that process handed the
// connection to another one, it still answers for it; once it has ended, the
// connection is refused. The caller closes the peer.
func PeerOf(conn UnixConn) (*Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fault.New(fault.Internal, "reach the socket: %w", err)
	}
	var cred *unix.Ucred
	var pidfd int
	var credErr, pidfdErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		pidfd, pidfdErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	})
	if err := errors.Join(err, credErr); err != nil {
		return nil, fault.New(fault.Internal, "ask the kernel for the peer: %w", err)
	}
	if errors.Is(pidfdErr, unix.ENOPROTOOPT) {
		return nil, fault.New(fault.Unsupported, "this kernel cannot name the peer of a socket safely").
			WithHint("the agent needs Linux 6.5 or later (SO_PEERPIDFD)")
	}
	if pidfdErr != nil {
		return nil, ended(pidfdErr)
	}
	p, err := newPeer(int(cred.Pid), pidfd)
	if err != nil {
		return nil, err
	}
	p.UID, p.GID = cred.Uid, cred.Gid
	return p, nil
}

// Find returns the running process with that pid and start time, so that a
// note about a process written earlier can be trusted. The caller closes it.
func Find(pid int, startTime uint64) (*Peer, error) {
	p, err := open(pid)
	if err != nil {
		return nil, err
	}
	if p.StartTime != startTime {
		return nil, errors.Join(ended(nil), p.Close())
	}
	return p, nil
}

// open returns the process that has this pid now.
func open(pid int) (*Peer, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, ended(err)
	}
	p, err := newPeer(pid, pidfd)
	if err != nil {
		return nil, err
	}
	if err := p.readOwner(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// newPeer takes over pidfd.
func newPeer(pid, pidfd int) (*Peer, error) {
	unix.CloseOnExec(pidfd)
	if err := unix.SetNonblock(pidfd, true); err != nil {
		_ = unix.Close(pidfd)
		return nil, fault.New(fault.Internal, "prepare pidfd: %w", err)
	}
	p := &Peer{PID: pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd"), done: make(chan struct{})}
	if pid <= 0 {
		return nil, errors.Join(fault.New(fault.Refused, "the peer is in a pid namespace this agent cannot see"), p.Close())
	}
	start, err := p.readStart()
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.StartTime = start
	return p, nil
}

func ended(cause error) error {
	if cause == nil {
		return fault.New(fault.Refused, "the process has ended")
	}
	return fault.New(fault.Refused, "the process has ended: %w", cause)
}

// Alive is nil while the process runs, and fault.Refused once it has ended. The
// answer is the kernel's, about exactly this process.
func (p *Peer) Alive() error {
	dead := true
	err := p.control(func(fd int) error {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll(poll, 0)
		}
		dead = n != 0
		if err == nil && !dead {
			// A process that was reaped before the pidfd was made polls as
			// quiet on some kernels, but takes no signal.
			if err = unix.PidfdSendSignal(fd, 0, nil, 0); errors.Is(err, unix.EPERM) {
				err = nil
			}
		}
		return err
	})
	if err != nil || dead {
		return ended(err)
	}
	return nil
}

// Done is closed when the process has ended, or on Close.
func (p *Peer) Done() <-chan struct{} {
	p.watch.Do(func() {
		p.wait.Go(func() {
			defer close(p.done)
			raw, err := p.pidfd.SyscallConn()
			if err != nil {
				return // closed
			}
			// The runtime's poller wakes this up when the pidfd becomes readable.
			_ = raw.Read(func(uintptr) bool { return p.Alive() != nil })
		})
	})
	return p.done
}

// Close lets go of the process and ends Done.
func (p *Peer) Close() error {
	_ = p.pidfd.SetReadDeadline(time.Now()) // wakes Done up
	p.wait.Wait()
	if err := p.pidfd.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fault.New(fault.Internal, "close pidfd: %w", err)
	}
	return nil
}

// Clone returns a second hold on the same process.
func (p *Peer) Clone() (*Peer, error) {
	var fd int
	err := p.control(func(own int) (err error) {
		fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fault.New(fault.Internal, "copy pidfd: %w", err)
	}
	c, err := newPeer(p.PID, fd)
	if err != nil {
		return nil, err
	}
	c.UID, c.GID = p.UID, p.GID
	return c, nil
}

// Kill sends a signal to exactly this process.
func (p *Peer) Kill(signal syscall.Signal) error {
	return p.control(func(fd int) error { return unix.PidfdSendSignal(fd, signal, nil, 0) })
}

// Descriptor returns a copy of one of the process's open files.
func (p *Peer) Descriptor(fd int) (*os.File, error) {
	var got int
	err := p.control(func(own int) (err error) {
		got, err = unix.PidfdGetfd(own, fd, 0)
		return err
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, "take over file descriptor %d of the process: %w", fd, err)
	}
	return os.NewFile(uintptr(got), "descriptor"), nil
}

// Open opens a file of /proc/PID. The file it returns is the process's own, also
// if the pid is used again later.
func (p *Peer) Open(name string) (*os.File, error) {
	if err := p.Alive(); err != nil {
		return nil, err
	}
	f, err := os.Open(p.path(name))
	if err != nil {
		return nil, fault.New(fault.Refused, "open %s of the process: %w", name, err)
	}
	if err := p.Alive(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// OpenRoot opens the top folder of the file system as the process sees it.
func (p *Peer) OpenRoot() (*os.File, error) {
	fd, err := unix.Open(p.path("root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fault.New(fault.Refused, "open the process's root folder: %w", err)
	}
	f := os.NewFile(uintptr(fd), "root")
	if err := p.Alive(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Tracer returns the pid of the debugger attached to the process, or 0.
func (p *Peer) Tracer() (int, error) {
	text, err := p.read("status")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(field(text, "TracerPid:"))
}

// Dumpable says whether processes of the same user may read its memory.
func (p *Peer) Dumpable() (bool, error) {
	var st unix.Stat_t
	err := unix.Stat(p.path("fd"), &st)
	if err := errors.Join(err, p.Alive()); err != nil {
		return true, fault.New(fault.Refused, "look at the process: %w", err)
	}
	// The kernel gives the folder of a process that is not dumpable to root.
	return st.Uid != 0, nil
}

// read returns a text file of /proc/PID.
func (p *Peer) read(name string) (string, error) {
	text, err := os.ReadFile(p.path(name))
	if alive := p.Alive(); alive != nil {
		return "", alive
	}
	if err != nil {
		return "", fault.New(fault.Refused, "read %s of the process: %w", name, err)
	}
	return string(text), nil
}

func (p *Peer) readStart() (uint64, error) {
	text, err := p.read("stat")
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in brackets and may hold anything.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, fault.New(fault.Internal, "read the start time of the process: the kernel's text has %d fields", len(fields))
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

func (p *Peer) readOwner() error {
	text, err := p.read("status")
	if err != nil {
		return err
	}
	uid, err1 := firstNumber(field(text, "Uid:"))
	gid, err2 := firstNumber(field(text, "Gid:"))
	p.UID, p.GID = uid, gid
	return errors.Join(err1, err2)
}

func firstNumber(text string) (uint32, error) {
	first, _, _ := strings.Cut(text, "\t")
	n, err := strconv.ParseUint(first, 10, 32)
	return uint32(n), err
}

// field returns the value of a line "Name:\tvalue" in a /proc status text.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func (p *Peer) path(name string) string { return "/proc/" + strconv.Itoa(p.PID) + "/" + name }

// control calls fn with the pidfd while it is surely open.
func (p *Peer) control(fn func(fd int) error) error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = fn(int(fd)) })
	return errors.Join(err, inner)
}

// Executable describes the file the process runs now: a later call that does not
// describe the same file (os.SameFile) means that it started another program.
func (p *Peer) Executable() (os.FileInfo, error) {
	info, err := os.Stat(p.path("exe"))
	if err := errors.Join(err, p.Alive()); err != nil {
		return nil, fault.New(fault.Refused, "look at the program of the process: %w", err)
	}
	return info, nil
}
