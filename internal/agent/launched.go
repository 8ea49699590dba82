// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/attest"
	measure "github.com/goldkeep/goldkeep/internal/attest/unix"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// seals make a memory file unchangeable for everybody, for ever.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// launchRequest is the body of POST /v1/launch.
type launchRequest struct {
	FD int `json:"fd"` // sealed memory file that holds the program
}

// postLaunch serves `goldkeep run`. In a container it is like any other
// workload. As a plain process it is a genuine goldkeep, which has promised to run
// exactly the sealed program it shows, and that program is what is attested.
func (a *Agent) postLaunch(w http.ResponseWriter, r *http.Request) {
	// Only the body is in a hurry: a deadline left standing would end the wait below.
	deadline := http.NewResponseController(w)
	err := deadline.SetReadDeadline(a.o.Now().Add(headerTime))
	var body launchRequest
	if err == nil && json.NewDecoder(r.Body).Decode(&body) != nil {
		err = fault.New(fault.Invalid, "the body must be {\"fd\": number}")
	}
	if err := errors.Join(err, deadline.SetReadDeadline(time.Time{})); err != nil {
		writeProblem(w, err)
		return
	}
	in, err := a.launch(r, body.FD)
	if err == nil {
		err = in.wait(r.Context())
	}
	if err != nil {
		writeProblem(w, err)
		return
	}
	writeJSON(w, in.identity())
}

func (a *Agent) launch(r *http.Request, fd int) (*instance, error) {
	v := visitorOf(r)
	evidence, program, err := v.examine(r.Context(), a.attestor)
	if err != nil {
		return nil, err
	}
	if evidence.Kind != attest.KindProcess {
		return a.served(r)
	}
	if a.launcher == "" || evidence.Executable != a.launcher {
		return nil, fault.New(fault.Refused, "only `goldkeep run` of the agent's own version may launch programs").
			WithHint("use the goldkeep binary the agent runs, built with CGO_ENABLED=0; or ask for an identity of your own")
	}
	file, err := takeProgram(v.peer, fd)
	if err != nil {
		return nil, err
	}
	measured, err := measure.MeasureFile(r.Context(), file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	e := *evidence
	e.Executable, e.Program, e.Dynamic = measured.Digest, measured.Name, measured.Dynamic
	in, err := a.find(r.Context(), launchKey(&e), true, func() (*instance, error) {
		anchor, err := v.peer.Clone()
		if err != nil {
			return nil, err
		}
		in := newInstance(launchKey(&e), &e, anchor)
		in.program, in.launched = program, file
		return in, nil
	})
	return a.sameLaunch(in, file, err)
}

// sameLaunch refuses a second program of the same launcher, and lets go of the
// file where the instance does not hold it.
func (a *Agent) sameLaunch(in *instance, file *os.File, err error) (*instance, error) {
	if in != nil && in.launched == file {
		return in, err
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = fault.New(fault.Conflict, "this goldkeep run has launched a program already").WithHint("start another one")
	}
	return nil, err
}

// takeProgram takes over a launcher's sealed memory file. Descriptors are copied
// through the pidfd, so it is surely that process's.
func takeProgram(p *attest.Peer, fd int) (*os.File, error) {
	// Processes of the same user must not be able to reach into the launcher
	// between now and the start of the program.
	tracer, err := p.Tracer()
	if err != nil {
		return nil, fault.New(fault.Refused, "look for a debugger: %w", err)
	}
	if tracer != 0 {
		return nil, fault.New(fault.Refused, "process %d is attached to goldkeep run as a debugger", tracer)
	}
	dumpable, err := p.Dumpable()
	if err != nil {
		return nil, err
	}
	if dumpable {
		return nil, fault.New(fault.Refused, "goldkeep run has not closed itself to other processes of its user")
	}
	file, err := p.Descriptor(fd)
	if err != nil {
		return nil, err
	}
	got, err := unix.FcntlInt(file.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return nil, errors.Join(fault.New(fault.Refused, "the program to launch is not in a sealed memory file"), file.Close())
	}
	return file, nil
}

func launchKey(e *attest.Evidence) string { return "launch " + processKey(e) }

// launchedBy returns the instance of a launcher that has launched already.
func (a *Agent) launchedBy(r *http.Request, e *attest.Evidence) (*instance, error) {
	a.mu.Lock()
	in := a.byKey[launchKey(e)]
	a.mu.Unlock()
	if in == nil {
		return nil, fault.New(fault.Refused, "goldkeep itself is no workload").WithHint("use `goldkeep run -- PROGRAM`")
	}
	return in, in.wait(r.Context())
}
