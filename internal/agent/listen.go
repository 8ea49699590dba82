// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

const (
	headerTime = 5 * time.Second
	idleTime   = 2 * time.Minute
	maxHeader  = 16 << 10
	maxBody    = 4 << 10
)

// listen opens the socket. One that an earlier run left behind is replaced; one
// that still answers is not.
func listen(path string, limit int) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fault.New(fault.Internal, "make folder of the socket: %w", err)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return nil, errors.Join(fault.New(fault.Conflict, "another agent answers at %s", path), conn.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Internal, "replace the socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fault.New(fault.Internal, "open the socket: %w", err)
	}
	// Anybody may knock: who it is comes from the kernel, not from file modes.
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(fault.New(fault.Internal, "open the socket to all: %w", err), l.Close())
	}
	return &limited{Listener: l, slots: make(chan struct{}, limit), closed: make(chan struct{})}, nil
}

// limited is a listener with a bounded number of open connections: the next one
// waits in the kernel's queue.
type limited struct {
	net.Listener
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
}

// Accept waits for a free slot, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		<-l.slots
		return nil, errors.Join(fault.New(fault.Internal, "not a unix socket"), conn.Close())
	}
	return &slotted{UnixConn: unixConn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close closes the socket.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type slotted struct {
	*net.UnixConn
	release func()
}

// Close gives the slot back.
func (c *slotted) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}

// visitor is who is at the other end of one connection.
type visitor struct {
	peer  *attest.Peer
	err   error  // why there is none
	group string // what its connections are counted by

	mu       sync.Mutex
	evidence *attest.Evidence
	program  os.FileInfo // what it ran then; plain processes
}

// examine attests the visitor once for each connection, and after that makes sure
// that it still runs the same program.
func (v *visitor) examine(ctx context.Context, a *attest.Attestor) (*attest.Evidence, os.FileInfo, error) {
	if v.err != nil {
		return nil, nil, v.err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.peer.Alive(); err != nil {
		return nil, nil, err
	}
	if v.evidence != nil {
		return v.evidence, v.program, v.unchanged()
	}
	before, err := v.peer.Executable()
	if err != nil {
		return nil, nil, err
	}
	evidence, err := a.Examine(ctx, v.peer)
	if err != nil {
		return nil, nil, err
	}
	if evidence.Kind == attest.KindProcess {
		v.program = before
		if err := v.unchanged(); err != nil {
			return nil, nil, err
		}
	}
	v.evidence = evidence
	return evidence, v.program, nil
}

func (v *visitor) unchanged() error {
	if v.program == nil {
		return nil
	}
	now, err := v.peer.Executable()
	if err != nil {
		return err
	}
	return sameFile(v.program, now)
}

// visitors counts the open connections of each workload.
type visitors struct {
	mu    sync.Mutex
	count map[string]int
	open  map[net.Conn]*visitor
	limit int
}

// enter asks the kernel who is there. It runs between two accepts, so it must be
// quick: everything slow waits for the first request.
func (vs *visitors) enter(conn net.Conn) *visitor {
	v := &visitor{}
	own, ok := conn.(*slotted)
	if !ok {
		v.err = fault.New(fault.Internal, "not a unix socket")
		return v
	}
	v.peer, v.err = attest.PeerOf(own)
	if v.err == nil {
		var groups attest.Cgroups
		groups, v.err = v.peer.Cgroups()
		v.group = fmt.Sprintf("%d %s", v.peer.UID, groups.Unified)
	}
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.open[conn] = v
	vs.count[v.group]++
	if v.err == nil && vs.count[v.group] > vs.limit {
		v.err = fault.New(fault.Unavailable, "this workload has over %d connections open", vs.limit).
			WithHint("keep one connection and use it again")
	}
	return v
}

func (vs *visitors) leave(conn net.Conn) error {
	vs.mu.Lock()
	v := vs.open[conn]
	delete(vs.open, conn)
	if v != nil {
		if vs.count[v.group]--; vs.count[v.group] == 0 {
			delete(vs.count, v.group)
		}
	}
	vs.mu.Unlock()
	if v == nil || v.peer == nil {
		return nil
	}
	return v.peer.Close()
}

type visitorKey struct{}

// serve answers until ctx ends.
func (a *Agent) serve(ctx context.Context, l net.Listener) error {
	vs := &visitors{count: map[string]int{}, open: map[net.Conn]*visitor{}, limit: max(1, a.o.MaxPeers/4)}
	server := &http.Server{
		Handler:           a.routes(),
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, visitorKey{}, vs.enter(c))
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			if state != http.StateClosed && state != http.StateHijacked {
				return
			}
			if err := vs.leave(c); err != nil {
				a.o.Log.Warn("let go of a connection", "error", err)
			}
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fault.New(fault.Internal, "serve: %w", err)
}
