// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"time"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

const (
	uploadTime  = 10 * time.Minute
	firstRetry  = time.Second
	slowRetry   = 15 * time.Second
	farewell    = 5 * time.Second  // for telling the server when the agent stops
	watchTime   = 25 * time.Second // one long poll
	maxUnmet    = 4096
	secretRetry = 5 * time.Second
	lookTime    = 5 * time.Second
	lookAgain   = 24 * time.Hour // what has not changed is told again, lest it be forgotten
)

// live walks an instance through its life: admitted, kept, ended, mourned. It
// returns when the workload's process has ended or the agent stops.
func (a *Agent) live(ctx context.Context, in *instance) {
	log := a.o.Log.With("kind", in.evidence.Kind, "pid", in.evidence.PID)
	err := a.admit(ctx, in)
	if err != nil {
		in.mu.Lock()
		in.err = err
		in.mu.Unlock()
		log.Info("workload refused", "reason", err)
		a.end(in, stateRefused, err.Error())
	} else {
		log = log.With("instance", in.id())
		log.Info("workload admitted")
		if err := a.readSecrets(ctx, in); err != nil {
			log.Warn("secrets not complete", "error", err)
		}
	}
	close(in.ready)
	a.keep(ctx, in)
	a.mourn(ctx, in)
	a.forget(in)
	if err := in.close(); err != nil {
		log.Warn("let go of workload", "error", err)
	}
}

// admit asks the server, and shows it what it has never seen.
func (a *Agent) admit(ctx context.Context, in *instance) error {
	grant, key, asked, err := a.ask(ctx, in)
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Wanted {
		if err := a.upload(ctx, in); err != nil {
			return err
		}
		grant, key, asked, err = a.ask(ctx, in)
	}
	if err != nil {
		return err
	}
	if err := grant.check(a.o.Now()); err != nil {
		return err
	}
	in.adopt(grant, key, grant.expiry(asked), a.next())
	if status, early := a.meet(in); early {
		a.apply(in, status)
	}
	return in.anchor.Alive()
}

func (a *Agent) ask(ctx context.Context, in *instance) (*Grant, []byte, time.Time, error) {
	key, csr, err := newRequest()
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.o.Call)
	defer cancel()
	asked := a.o.Now()
	grant, err := a.o.Server.Admit(ctx, Admission{Node: a.o.Node, Evidence: in.evidence, CSR: csr})
	return grant, key, asked, err
}

// newRequest makes a key, which never leaves this machine, and a request for it.
func newRequest() (keyPEM []byte, csrPEM string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fault.New(fault.Internal, "make key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", fault.New(fault.Internal, "encode key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, "", fault.New(fault.Internal, "make certificate request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})), nil
}

// upload sends the image or program once, however many of its instances wait.
func (a *Agent) upload(ctx context.Context, in *instance) error {
	e := in.evidence
	digest, name := e.Image, e.ImageName
	if e.Kind == attest.KindProcess {
		digest, name = e.Executable, e.Program
	}
	_, err, _ := a.uploads.Do(digest, func() (any, error) {
		ctx, cancel := context.WithTimeout(ctx, uploadTime)
		defer cancel()
		a.o.Log.Info("upload for the server to look at", "digest", digest, "name", name)
		content, err := a.content(ctx, in)
		if err != nil {
			return nil, err
		}
		// Senders close what they can close; this is ours to close.
		body := struct{ io.Reader }{content}
		return nil, errors.Join(a.o.Server.Upload(ctx, name, body), content.Close())
	})
	return err
}

func (a *Agent) content(ctx context.Context, in *instance) (io.ReadCloser, error) {
	if in.launched == nil {
		return a.attestor.Export(ctx, in.evidence, in.anchor)
	}
	info, err := in.launched.Stat()
	if err != nil {
		return nil, fault.New(fault.Internal, "look at the launched program: %w", err)
	}
	return io.NopCloser(io.NewSectionReader(in.launched, 0, info.Size())), nil
}

// keep renews an instance until it ends.
func (a *Agent) keep(ctx context.Context, in *instance) {
	pause := firstRetry
	next := a.renewal(in)
	for !in.isOver() {
		now := a.o.Now()
		renew := time.NewTimer(next.Sub(now))
		end := time.NewTimer(in.lifetime().Sub(now))
		select {
		case <-in.over:
		case <-ctx.Done():
			a.end(in, stateGone, "the agent is stopping")
		case <-in.anchor.Done():
			a.end(in, stateGone, "the workload has ended")
		case <-end.C:
			a.end(in, stateExpired, "the server was not reached before the identity expired")
		case <-in.wake:
			a.reread(ctx, in)
		case <-a.secretsAgain(in):
			a.reread(ctx, in)
		case <-renew.C:
			if a.renew(ctx, in) {
				pause, next = firstRetry, a.renewal(in)
			} else {
				next = a.o.Now().Add(pause)
				pause = min(2*pause, slowRetry)
			}
		}
		renew.Stop()
		end.Stop()
	}
}

// renewal is when two thirds of the identity's life are over.
func (a *Agent) renewal(in *instance) time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	left := in.expires.Sub(a.o.Now())
	return in.expires.Add(-left / 3)
}

func (in *instance) lifetime() time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.expires
}

// secretsAgain fires when secrets that could not be read are worth another try;
// nil, which never fires, where all is well.
func (a *Agent) secretsAgain(in *instance) <-chan time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.problem == "" {
		return nil
	}
	return time.After(secretRetry)
}

// renew asks for a new certificate and token. It says whether all is well; a no
// of the server ends the instance.
func (a *Agent) renew(ctx context.Context, in *instance) bool {
	if err := in.sameProgram(); err != nil {
		a.end(in, stateRevoked, err.Error())
		return false
	}
	key, csr, err := newRequest()
	if err != nil {
		return false
	}
	sight := a.look(ctx, in)
	ctx, cancel := context.WithTimeout(ctx, a.o.Call)
	defer cancel()
	asked := a.o.Now()
	grant, err := a.o.Server.Renew(ctx, in.id(), csr, sight)
	if err == nil {
		err = in.complete(grant).check(a.o.Now())
	}
	switch fault.KindOf(err) {
	case fault.Denied, fault.Refused, fault.NotFound:
		a.end(in, stateRevoked, err.Error())
		return false
	}
	if err != nil {
		a.o.Log.Warn("renew identity", "instance", in.id(), "error", err)
		return false
	}
	if in.isOver() {
		return false // a revocation came while the server answered
	}
	in.adopt(grant, key, grant.expiry(asked), a.next())
	if sight != nil {
		in.sight, in.shown = sight, asked
	}
	return true
}

// look sees what a workload does, for the server; nil where that was told already,
// or could not be seen. It never holds a renewal up for long.
func (a *Agent) look(ctx context.Context, in *instance) *attest.Sight {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	sight, err := attest.Look(ctx, in.evidence, in.anchor)
	if err != nil {
		a.o.Log.Debug("look at workload", "instance", in.id(), "error", err)
		return nil
	}
	if sight.Equal(in.sight) && a.o.Now().Sub(in.shown) < lookAgain {
		return nil
	}
	return sight
}

// sameProgram refuses a plain process that has started another program since.
func (in *instance) sameProgram() error {
	if in.program == nil {
		return nil
	}
	now, err := in.anchor.Executable()
	if err != nil {
		return err
	}
	return sameFile(in.program, now)
}

func sameFile(a, b os.FileInfo) error {
	if !os.SameFile(a, b) || a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) {
		return fault.New(fault.Refused, "the process has started another program since it was attested").
			WithHint("connect again from the new program")
	}
	return nil
}

// end takes everything away, then tells those who watch; the server is told in
// mourn. Only the first call counts.
func (a *Agent) end(in *instance, state, reason string) {
	if !in.stop(a.o.Now()) {
		return
	}
	id := in.id()
	if err := in.dropFiles(); err != nil {
		a.o.Log.Error("secret files may still be there", "instance", id, "error", err)
	}
	if id != "" {
		a.clean(id)
		a.o.Log.Info("identity ended", "instance", id, "state", state, "reason", reason)
	}
	in.tell(state, reason, a.next())
}

// mourn tells the server where the workload ended, and waits for the process
// to end or to be admitted anew where it still runs.
func (a *Agent) mourn(ctx context.Context, in *instance) {
	<-in.told
	in.mu.Lock()
	state := in.state
	in.mu.Unlock()
	if state != stateRevoked {
		a.leave(ctx, in)
	}
	select {
	case <-in.anchor.Done():
	case <-in.replaced:
	case <-ctx.Done():
	}
}

// leave tells the server, patiently: a record of a running copy that does not run
// misleads people, but it expires by itself.
func (a *Agent) leave(ctx context.Context, in *instance) {
	id := in.id()
	if id == "" {
		return
	}
	for pause := firstRetry; ; pause = min(2*pause, slowRetry) {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(farewell, a.o.Call))
		err := a.o.Server.Leave(call, id)
		cancel()
		if err == nil || fault.Is(err, fault.NotFound) || a.o.Now().After(in.lifetime()) {
			return
		}
		a.o.Log.Warn("tell the server that a workload has ended", "instance", id, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// follow listens for news until ctx ends.
func (a *Agent) follow(ctx context.Context) {
	var since, secrets int64
	pause := firstRetry
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, watchTime+a.o.Call)
		news, err := a.o.Server.Watch(call, since, secrets, watchTime)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				a.o.Log.Warn("watch for news", "error", err)
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, slowRetry)
			continue
		}
		pause = firstRetry
		a.hear(news, news.SecretsRevision != secrets)
		since, secrets = news.Revision, news.SecretsRevision
	}
}

func (a *Agent) hear(news *News, secrets bool) {
	for _, status := range news.Instances {
		if in := a.named(status); in != nil {
			a.apply(in, status)
		}
	}
	if !secrets {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, in := range a.byID {
		select {
		case in.wake <- struct{}{}:
		default: // told already
		}
	}
}

// named returns the instance a status is about, or keeps the status for later.
func (a *Agent) named(s Status) *instance {
	a.mu.Lock()
	defer a.mu.Unlock()
	in := a.byID[s.ID]
	if in == nil {
		if len(a.unmet) >= maxUnmet {
			clear(a.unmet)
		}
		a.unmet[s.ID] = s
	}
	return in
}

func (a *Agent) apply(in *instance, s Status) {
	switch s.State {
	case stateRevoked, stateGone, stateExpired:
		reason := s.Reason
		if reason == "" {
			reason = "the server has ended this identity"
		}
		a.end(in, stateRevoked, reason)
	case stateActive, stateWarned:
		in.note(s, a.next())
	default:
		a.o.Log.Warn("state not understood", "instance", s.ID, "state", s.State)
	}
}
