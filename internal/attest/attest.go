// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package attest finds out what a process on this machine runs. Everything it
// says comes from the kernel (the socket's peer, a pidfd, control groups, the
// executable) and from the container runtime's own record; nothing comes from the
// process itself, and a pid that was used again never counts.
//
// The order is: the kernel names the peer and gives a pidfd; its control group is
// read while the pidfd says "alive"; each configured runtime is asked which of
// its containers owns that control group; without one the process must share the
// agent's mount namespace, and its executable is hashed. Whatever fails on the
// way is a refusal, never a weaker answer. A container's image is known by its config
// digest; names are hints for people.
package attest

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// The kinds of evidence: a container of a known runtime, named by that runtime,
// and a plain process.
const (
	KindPodman  = "podman"
	KindProcess = "process"
)

// Evidence is what was found out about a workload.
type Evidence struct {
	Kind       string   `json:"kind"`                 // podman, process
	Image      string   `json:"image,omitempty"`      // config digest, "sha256:..."; containers
	ChainID    string   `json:"chainId,omitempty"`    // of the root filesystem
	Manifests  []string `json:"manifests,omitempty"`  // manifest digests the runtime knows the image under
	ImageName  string   `json:"imageName,omitempty"`  // a hint for people, never a key
	Executable string   `json:"executable,omitempty"` // "sha256:..." of the program; plain processes
	Program    string   `json:"program,omitempty"`    // its file name, a hint for people
	Dynamic    bool     `json:"dynamic,omitempty"`    // loads shared libraries, which are not part of the digest
	Container  string   `json:"container,omitempty"`  // id
	Main       int      `json:"main,omitempty"`       // pid of the container's first process
	CgroupPath string   `json:"cgroupPath,omitempty"` // as the runtime reports it; plain processes: as the kernel does
	PID        int      `json:"pid"`
	StartTime  uint64   `json:"startTime"` // clock ticks since boot, /proc/PID/stat field 22
	UID        uint32   `json:"uid"`
	GID        uint32   `json:"gid"`
	Node       string   `json:"node"`
}

// Container is what a runtime knows of one of its running containers.
type Container struct {
	Kind       string
	ID         string
	Image      string // config digest
	ChainID    string
	Manifests  []string
	ImageName  string
	CgroupPath string
	PID        int // its first process
}

// Runtime is a container runtime on this machine.
type Runtime interface {
	// Find returns the running container that owns the control group, or nil
	// where it is none of this runtime's. A runtime that does not answer is
	// fault.Unavailable; contradictions are fault.Refused.
	Find(ctx context.Context, groups Cgroups) (*Container, error)
	// Export streams an image, named by its config digest, as a docker archive.
	Export(ctx context.Context, image string) (io.ReadCloser, error)
	// Kind is the kind of its containers.
	Kind() string
}

// Program is an executable that was measured.
type Program struct {
	Digest  string // "sha256:..."
	Name    string // file name, a hint
	Dynamic bool
}

// Measurer measures the executable of a plain process.
type Measurer interface {
	Measure(ctx context.Context, p *Peer) (*Program, error)
}

// Attestor attests peers. Its fields do not change once it is in use.
type Attestor struct {
	Runtimes []Runtime // all must answer for every peer
	Process  Measurer  // nil: plain processes are refused
	Node     string
}

// Attest finds out who is at the other end of conn. The caller closes the peer.
func (a *Attestor) Attest(ctx context.Context, conn UnixConn) (*Evidence, *Peer, error) {
	peer, err := PeerOf(conn)
	if err != nil {
		return nil, nil, err
	}
	evidence, err := a.Examine(ctx, peer)
	if err != nil {
		return nil, nil, errors.Join(err, peer.Close())
	}
	return evidence, peer, nil
}

// Examine finds out what a peer runs, now.
func (a *Attestor) Examine(ctx context.Context, p *Peer) (*Evidence, error) {
	groups, err := p.Cgroups()
	if err != nil {
		return nil, err
	}
	evidence := &Evidence{PID: p.PID, StartTime: p.StartTime, UID: p.UID, GID: p.GID, Node: a.Node}
	found, err := a.find(ctx, groups)
	if err != nil {
		return nil, err
	}
	if found != nil {
		evidence.Kind, evidence.Container, evidence.Main = found.Kind, found.ID, found.PID
		evidence.Image, evidence.ChainID = found.Image, found.ChainID
		evidence.Manifests, evidence.ImageName = found.Manifests, found.ImageName
		evidence.CgroupPath = found.CgroupPath
	} else if err := a.measure(ctx, p, evidence); err != nil {
		return nil, err
	} else {
		evidence.CgroupPath = groups.Unified
	}
	// What was read by pid is worth something only if the pid was the peer's
	// all the time.
	if err := p.Alive(); err != nil {
		return nil, err
	}
	return evidence, nil
}

// find asks every runtime, also after one has answered: two that claim the same
// process is a contradiction.
func (a *Attestor) find(ctx context.Context, groups Cgroups) (*Container, error) {
	var found *Container
	for _, r := range a.Runtimes {
		c, err := r.Find(ctx, groups)
		if err != nil {
			return nil, err
		}
		if c != nil && found != nil {
			return nil, fault.New(fault.Refused, "attest: %s and %s both claim the process", found.Kind, c.Kind)
		}
		if c != nil {
			found = c
		}
	}
	return found, nil
}

func (a *Attestor) measure(ctx context.Context, p *Peer, evidence *Evidence) error {
	if a.Process == nil {
		return fault.New(fault.Refused, "attest: plain processes are not served here, and no known runtime owns this one")
	}
	program, err := a.Process.Measure(ctx, p)
	if err != nil {
		return err
	}
	evidence.Kind, evidence.Executable = KindProcess, program.Digest
	evidence.Program, evidence.Dynamic = program.Name, program.Dynamic
	return nil
}

// Anchor returns the process whose life is the workload's: a container's first
// process, or the plain process itself. The caller closes it.
func (a *Attestor) Anchor(evidence *Evidence, p *Peer) (*Peer, error) {
	if evidence.Kind == KindProcess {
		return p.Clone()
	}
	anchor, err := open(evidence.Main)
	if err != nil {
		return nil, err
	}
	groups, err := anchor.Cgroups()
	if err == nil && !groups.Within(evidence.CgroupPath) {
		err = fault.New(fault.Refused, "attest: the container's first process is not in its control group")
	}
	if err != nil {
		return nil, errors.Join(err, anchor.Close())
	}
	return anchor, nil
}

// Export streams what the workload runs, so that a server that has never seen it
// can look inside: the image as a docker archive, or the executable.
func (a *Attestor) Export(ctx context.Context, evidence *Evidence, p *Peer) (io.ReadCloser, error) {
	if evidence.Kind == KindProcess {
		return p.Open("exe")
	}
	for _, r := range a.Runtimes {
		if r.Kind() == evidence.Kind {
			return r.Export(ctx, evidence.Image)
		}
	}
	return nil, fault.New(fault.Internal, "export image: no runtime of kind %q", evidence.Kind)
}

// SameNamespace says whether the peer shares a namespace ("mnt", "pid", ...) with
// this process.
func (p *Peer) SameNamespace(kind string) (bool, error) {
	own, err := os.Stat("/proc/self/ns/" + kind)
	if err != nil {
		return false, fault.New(fault.Internal, "read own namespace: %w", err)
	}
	theirs, err := os.Stat(p.path("ns/" + kind))
	if err := errors.Join(err, p.Alive()); err != nil {
		return false, fault.New(fault.Refused, "read the peer's namespace: %w", err)
	}
	return os.SameFile(own, theirs), nil
}
