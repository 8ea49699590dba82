// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// The states of an instance, as workloads see them.
const (
	stateAsking  = "asking"
	stateActive  = "active"
	stateWarned  = "warned"  // still served, until a stated time
	stateRefused = "refused" // never admitted
	stateRevoked = "revoked"
	stateExpired = "expired" // no contact with the server until the end of its life
	stateGone    = "gone"    // the workload, or the server's record of it, has ended
)

// instance is one running workload. Its anchor's life is its own.
type instance struct {
	key      string
	evidence *attest.Evidence
	anchor   *attest.Peer
	program  os.FileInfo // of a plain process: what it ran when it was attested
	launched *os.File    // the program of `goldkeep run`; nil for all others
	ready    chan struct{}
	over     chan struct{} // closed first when it ends
	told     chan struct{} // closed last
	replaced chan struct{}
	wake     chan struct{} // capacity 1: secrets have to be read again

	sight *attest.Sight // what the server was told it does; only keep uses it
	shown time.Time     // when

	disk   sync.Mutex // held while files are written or taken away; before mu
	folder *folder
	files  map[string][32]byte // written, by their digest

	mu       sync.Mutex
	state    string
	reason   string
	problem  string // what is wrong with its secrets, while it is served
	until    time.Time
	err      error // why it was refused
	ended    time.Time
	expires  time.Time
	grant    *Grant
	key8     []byte // private key, PKCS #8 in PEM
	values   []Value
	revision int64
	changed  chan struct{} // closed and replaced with each revision
}

func newInstance(key string, evidence *attest.Evidence, anchor *attest.Peer) *instance {
	return &instance{
		key: key, evidence: evidence, anchor: anchor, state: stateAsking, files: map[string][32]byte{},
		ready: make(chan struct{}), over: make(chan struct{}), told: make(chan struct{}), replaced: make(chan struct{}),
		wake: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// wait returns once the server has answered; nil means admitted, though possibly
// ended since.
func (in *instance) wait(ctx context.Context) error {
	select {
	case <-in.ready:
		in.mu.Lock()
		defer in.mu.Unlock()
		return in.err
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "wait for the server's answer: %w", ctx.Err())
	}
}

// mayRetry says whether asking the server again is worth it. A launched program
// is measured by its launcher only, so it has to be launched again.
func (in *instance) mayRetry(now time.Time, hold time.Duration) bool {
	select {
	case <-in.told:
	default:
		return false // it runs, or its files are just being taken away
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return now.Sub(in.ended) >= hold && (in.launched == nil || in.state == stateRefused)
}

func (in *instance) isOver() bool {
	select {
	case <-in.over:
		return true
	default:
		return false
	}
}

func (in *instance) id() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.grant == nil {
		return ""
	}
	return in.grant.Instance.ID
}

// bump tells the watchers. The caller holds mu.
func (in *instance) bump(revision int64) {
	in.revision = revision
	close(in.changed)
	in.changed = make(chan struct{})
}

// adopt takes a new certificate and token.
func (in *instance) adopt(g *Grant, key []byte, expires time.Time, revision int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.ended.IsZero() {
		return // a revocation came while the server answered
	}
	in.grant, in.key8, in.expires = g, key, expires
	in.state = stateActive
	if g.Instance.State == stateWarned {
		in.state = stateWarned
	}
	in.reason, in.until = g.Instance.Reason, g.Instance.Until
	in.bump(revision)
}

// complete fills in what a renewal leaves as it was.
func (in *instance) complete(g *Grant) *Grant {
	in.mu.Lock()
	defer in.mu.Unlock()
	if g == nil || in.grant == nil {
		return g
	}
	g.Instance.ID = in.grant.Instance.ID
	if g.Token == "" {
		g.Token = in.grant.Token
	}
	if g.Bundle == "" {
		g.Bundle = in.grant.Bundle
	}
	if g.SpiffeID == "" {
		g.SpiffeID = in.grant.SpiffeID
	}
	if g.Secrets == nil {
		g.Secrets = in.grant.Secrets
	}
	return g
}

// note takes the server's word on an instance that goes on.
func (in *instance) note(s Status, revision int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.ended.IsZero() || in.state == s.State && in.reason == s.Reason && in.until.Equal(s.Until) {
		return
	}
	in.state, in.reason, in.until = s.State, s.Reason, s.Until
	in.bump(revision)
}

// settle takes the outcome of reading the secrets; nil values: keep the old ones.
func (in *instance) settle(values []Value, problem string, revision int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.ended.IsZero() {
		return
	}
	if values != nil {
		in.values = values
	}
	in.problem = problem
	in.bump(revision)
}

// stop ends the instance in memory and says whether this was the first call: from
// here on nothing is handed out and no file is written.
func (in *instance) stop(now time.Time) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.ended.IsZero() {
		return false
	}
	in.ended = now
	clear(in.key8)
	in.key8, in.values = nil, nil
	if in.grant != nil {
		in.grant.Token, in.grant.Certificate = "", ""
	}
	close(in.over)
	return true
}

// tell is the last step of an end: the files are gone, and all who watch hear of it.
func (in *instance) tell(state, reason string, revision int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.state, in.reason, in.until, in.problem = state, reason, time.Time{}, ""
	close(in.told)
	in.bump(revision)
}

func (in *instance) dropFiles() error {
	in.disk.Lock()
	defer in.disk.Unlock()
	if in.folder == nil {
		return nil
	}
	names := make([]string, 0, len(in.files))
	for name := range in.files {
		names = append(names, name)
	}
	slices.Sort(names)
	err := errors.Join(in.folder.remove(names...), in.folder.close())
	in.folder, in.files = nil, map[string][32]byte{}
	return err
}

// close lets go of the workload's process and program.
func (in *instance) close() error {
	err := in.anchor.Close()
	if in.launched != nil {
		err = errors.Join(err, in.launched.Close())
	}
	return err
}

// identity is the answer to GET /v1/identity.
type identity struct {
	Instance    string    `json:"instance"`
	Workload    string    `json:"workload"`
	Environment string    `json:"environment"`
	SpiffeID    string    `json:"spiffeId"`
	Certificate string    `json:"certificate,omitempty"`
	PrivateKey  string    `json:"privateKey,omitempty"`
	Bundle      string    `json:"bundle,omitempty"`
	Token       string    `json:"token,omitempty"`
	Expires     time.Time `json:"expires,omitzero"`
	Directory   string    `json:"directory,omitempty"` // of its files; absent: there are none
	State       string    `json:"state"`
	Reason      string    `json:"reason,omitempty"`
	Until       time.Time `json:"until,omitzero"`
	Revision    int64     `json:"revision"`
	Signal      string    `json:"signal,omitempty"`
	Kind        string    `json:"kind"`
}

func (in *instance) identity() identity {
	in.disk.Lock()
	directory := ""
	if in.folder != nil {
		directory = in.folder.path
	}
	in.disk.Unlock()
	in.mu.Lock()
	defer in.mu.Unlock()
	id := identity{
		State: in.state, Reason: in.reason, Until: in.until, Revision: in.revision,
		Expires: in.expires, Directory: directory, Kind: in.evidence.Kind,
	}
	if id.Reason == "" {
		id.Reason = in.problem
	}
	if g := in.grant; g != nil {
		id.Instance, id.Workload, id.Environment = g.Instance.ID, g.Instance.Workload, g.Instance.Environment
		id.SpiffeID, id.Certificate, id.Bundle, id.Token = g.SpiffeID, g.Certificate, g.Bundle, g.Token
		id.PrivateKey, id.Signal = string(in.key8), g.OnChange.Signal
	}
	return id
}

// secretsAnswer is the answer to GET /v1/secrets.
type secretsAnswer struct {
	Secrets  []Value `json:"secrets"`
	Revision int64   `json:"revision"`
	State    string  `json:"state"`
}

func (in *instance) secrets() (secretsAnswer, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.values == nil && in.problem != "" {
		return secretsAnswer{}, fault.New(fault.Unavailable, "%s", in.problem)
	}
	return secretsAnswer{Secrets: in.values, Revision: in.revision, State: in.state}, nil
}

// watchAnswer is the answer to GET /v1/watch.
type watchAnswer struct {
	Revision int64     `json:"revision"`
	State    string    `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	Until    time.Time `json:"until,omitzero"`
}

// watch returns once the revision is not the one given, or done fires.
func (in *instance) watch(revision int64, done <-chan struct{}) watchAnswer {
	for {
		in.mu.Lock()
		answer := watchAnswer{Revision: in.revision, State: in.state, Reason: in.reason, Until: in.until}
		changed := in.changed
		in.mu.Unlock()
		if answer.Revision != revision {
			return answer
		}
		select {
		case <-changed:
		case <-done:
			return answer
		}
	}
}
