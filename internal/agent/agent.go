// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package agent is Goldkeep on a machine. Workloads come to its unix socket; it
// finds out what they run (package attest), asks the server, and hands them an
// identity and their secrets: over the socket, as files in a tmpfs, and through
// `goldkeep run` (Launch) as environment variables.
//
// It holds nothing longer than the server allows: an identity is renewed at two
// thirds of its life, and a revocation, an end of the workload, or an expiry
// without contact takes the files away at once. See docs/agent.md for what this
// proves and what it does not.
package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/attest/unix"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Options configure an agent.
type Options struct {
	Socket       string           // unix socket workloads come to
	Files        string           // folder for the files of plain processes, on a tmpfs
	InsecureDisk bool             // accept Files on a disk: secrets may then survive a power cut
	Node         string           // this machine's name
	Server       Server           // required
	Runtimes     []attest.Runtime // container runtimes; each must answer for every workload
	NoProcesses  bool             // refuse plain processes
	Launcher     string           // the goldkeep binary whose `run` is believed; "": this process's own
	Log          *slog.Logger     // nil: silent
	Now          func() time.Time // nil: time.Now
	Hold         time.Duration    // how long a no is remembered before the server is asked again; default 1 s
	Call         time.Duration    // how long one call to the server may take; default 15 s
	MaxPeers     int              // open connections in all; default 1024, a quarter of them for one workload
}

// Agent serves the workloads of one machine.
type Agent struct {
	o        Options
	attestor *attest.Attestor
	launcher string // digest of the goldkeep binary; "": none may launch
	uploads  singleflight.Group
	starts   chan *instance

	mu       sync.Mutex
	byKey    map[string]*instance
	byID     map[string]*instance
	unmet    map[string]Status // news about instances whose grant is still on its way
	revision int64             // of anything a workload sees; only grows
}

// New checks the options, prepares the folder for files and removes what an
// earlier run left behind.
func New(o Options) (*Agent, error) {
	if o.Socket == "" || o.Files == "" || o.Node == "" || o.Server == nil {
		return nil, fault.New(fault.Invalid, "the agent needs a socket, a folder for files, a node name and a server")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Hold = orDefault(o.Hold, time.Second)
	o.Call = orDefault(o.Call, 15*time.Second)
	if o.MaxPeers <= 0 {
		o.MaxPeers = 1024
	}
	a := &Agent{
		o: o, attestor: &attest.Attestor{Runtimes: o.Runtimes, Node: o.Node},
		starts: make(chan *instance), byKey: map[string]*instance{}, byID: map[string]*instance{}, unmet: map[string]Status{},
	}
	if !o.NoProcesses {
		a.attestor.Process = unix.Processes{}
	}
	if err := prepareDisk(o.Files, o.InsecureDisk); err != nil {
		return nil, err
	}
	return a, clearDisk(o.Files)
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d <= 0 {
		return fallback
	}
	return d
}

// Run serves until ctx ends. It then takes all files away, tells the server, and
// returns nil.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.knowLauncher(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	listener, err := listen(a.o.Socket, a.o.MaxPeers)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { a.follow(ctx) })
	wg.Go(func() { a.startAll(ctx, &wg) })
	a.o.Log.Info("agent serves", "socket", a.o.Socket, "node", a.o.Node)
	err = a.serve(ctx, listener)
	cancel()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// startAll gives each new instance a goroutine that lives as long as it does.
func (a *Agent) startAll(ctx context.Context, wg *sync.WaitGroup) {
	for {
		select {
		case in := <-a.starts:
			wg.Go(func() { a.live(ctx, in) })
		case <-ctx.Done():
			return
		}
	}
}

// knowLauncher measures the goldkeep binary whose `run` will be believed.
func (a *Agent) knowLauncher(ctx context.Context) error {
	path := a.o.Launcher
	if path == "" {
		path = "/proc/self/exe"
	}
	f, err := os.Open(path)
	if err != nil {
		return fault.New(fault.Invalid, "open the goldkeep binary: %w", err)
	}
	program, err := unix.MeasureFile(ctx, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if program.Dynamic {
		// Anybody could slip a library under it: it would prove nothing.
		a.o.Log.Warn("goldkeep run is refused for plain processes: this binary loads shared libraries", "todo", "build with CGO_ENABLED=0")
		return nil
	}
	a.launcher = program.Digest
	return nil
}

// find returns the instance of a workload, made where there is none. One that has
// ended is, with again, tried again after a while, so that a rule put right gives
// it back.
func (a *Agent) find(ctx context.Context, key string, again bool, make func() (*instance, error)) (*instance, error) {
	a.mu.Lock()
	in := a.byKey[key]
	if in != nil && (!again || !in.mayRetry(a.o.Now(), a.o.Hold)) {
		a.mu.Unlock()
		return in, in.wait(ctx)
	}
	fresh, err := make()
	if err != nil {
		a.mu.Unlock()
		return nil, err
	}
	if in != nil {
		close(in.replaced)
	}
	a.byKey[key] = fresh
	a.mu.Unlock()
	select {
	case a.starts <- fresh:
		return fresh, fresh.wait(ctx)
	case <-ctx.Done():
		a.forget(fresh)
		return nil, errors.Join(fault.New(fault.Unavailable, "the agent is stopping, or the caller has gone"), fresh.close())
	}
}

// forget drops an instance, if it has not been replaced already.
func (a *Agent) forget(in *instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byKey[in.key] == in {
		delete(a.byKey, in.key)
	}
	if id := in.id(); a.byID[id] == in {
		delete(a.byID, id)
	}
}

// meet makes an admitted instance known, and returns the news that came first.
func (a *Agent) meet(in *instance) (Status, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := in.id()
	a.byID[id] = in
	status, early := a.unmet[id]
	delete(a.unmet, id)
	return status, early
}

// next returns a revision no workload has seen.
func (a *Agent) next() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revision++
	return a.revision
}
