// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package gate is the one line every request walks, whichever door it came
// through: Handle, in this file, read from top to bottom.
package gate

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/quota"
)

// Tokens is what the gate asks of package auth.
type Tokens interface {
	// Subject says who holds a token; a token that is not valid is fault.Denied.
	Subject(ctx context.Context, token string) (*auth.Subject, error)
	// Proof says, also while sealed, whether a token was one of ours.
	Proof(ctx context.Context, token string) (bool, error)
	// RevokeAccessor takes back a token just issued.
	RevokeAccessor(ctx context.Context, accessor string) error
}

// Policies compiles the policies of a subject.
type Policies interface {
	Set(ctx context.Context, names []string, who *entity.Identity) (policy.Set, error)
}

// Leases is what the gate asks of package lease.
type Leases interface {
	// Activate records that a lease is about to be handed out.
	Activate(ctx context.Context, id string) error
	// Revoke takes a lease back; without sync it is durable that it will be.
	Revoke(ctx context.Context, id string, sync bool) error
}

// Barrier says whether the secrets can be reached.
type Barrier interface {
	barrier.Keys
	Sealed() bool
}

// Options are the parts a Gate is made of. All are needed but
// those that may be nil.
type Options struct {
	Barrier  Barrier
	Mounts   *engine.Mounts // this and what follows, to Wrapping, is the root namespace's
	Tokens   Tokens
	Policies Policies
	Leases   Leases
	Wrapping *engine.Wrapping
	Root     *engine.Realm  // the same once more, with all namespaces below; nil: there are none
	Quotas   *quota.Limiter // nil: nobody is limited
	Audit    audit.Log
	Room     func() error     // an error where changes must wait until there is room on the disk; nil: there always is
	Now      func() time.Time // the store's clock
	Logger   *slog.Logger
}

// Gate passes requests to engines, and their answers back.
type Gate struct {
	o    Options
	root *part
}

// New makes a gate.
func New(o Options) *Gate {
	return &Gate{o: o, root: &part{
		realm: o.Root, mounts: o.Mounts, tokens: o.Tokens, policies: o.Policies, leases: o.Leases, wrapping: o.Wrapping,
	}}
}

// Request is one request, as a door understood it.
type Request struct {
	Op      policy.Capability          // policy.Update for every write: the gate finds out whether it is a create
	Path    string                     // "secret/data/app", "api/v1/images": no leading slash
	Data    map[string]json.RawMessage // the body's fields; of reads, the query
	Query   map[string][]string
	Token   string
	Codes   map[string][]string // more proof for a login, by the ids or names of methods; nil: none is brought
	Basic   *engine.Basic       // nil: the request brings none
	WrapTTL time.Duration       // 0: the answer is not wrapped
	Remote  string              // peer address without port, or "unix"
	Peer    []*x509.Certificate // what the connection has shown, unverified
	Body    io.Reader           // only where Streams says so

	Namespace string // the one that Path is in, as a header names it: "team/blue"; "": the root
}

// Response is what a door sends back.
type Response struct {
	ID     string // of the request
	Op     policy.Capability
	Answer *engine.Response // nil: nothing there (read, list), or done (all else)
	Wrap   *engine.Wrap     // sent instead of the answer
}

// walk is one request on its way.
type walk struct {
	*Request
	id       string
	now      time.Time
	in, home *part // the namespace of the path, and that of the token: the same one or one above
	slot     *engine.Slot
	below    string // the path below the mount
	op       policy.Capability
	open     bool // no token needed
	unwraps  bool // the token is a wrapping token, which opens its answer and nothing else
	pure     bool // changes nothing
	quiet    bool // open, pure and there while sealed: health and the like
	subject  *auth.Subject
	creates  bool // a write to this path may make what is not there
	decision policy.Decision
	rights   policy.Set   // what the caller may do, by the paths of the namespace
	served   bool         // the engine has been reached
	onDisk   func() error // waits until the record of the change is on disk; nil: there is none
	answer   *engine.Response
	wrap     *engine.Wrap
}

// Handle answers one request. No answer leaves that is not in the audit log:
// where the log cannot be written, the caller gets an error and what was handed
// out is taken back.
func (g *Gate) Handle(ctx context.Context, req *Request) (*Response, error) {
	w := g.begin(req)
	err := g.steps(ctx, w)
	if auditErr := g.conclude(ctx, w, err); auditErr != nil {
		err = auditErr
	}
	if err != nil {
		g.takeBack(ctx, w)
	}
	if w.subject != nil && w.subject.LastUse {
		g.endToken(ctx, w)
	}
	if err != nil {
		return nil, err
	}
	return &Response{ID: w.id, Op: w.op, Answer: w.answer, Wrap: w.wrap}, nil
}

// steps are the stations of a request; the first that fails ends it.
func (g *Gate) steps(ctx context.Context, w *walk) error {
	for _, step := range [...]func(context.Context, *walk) error{
		g.route,    // which engine serves the path? while sealed: may it?
		g.limit,    // does this client ask too often?
		g.identify, // whose token is it?
		g.decide,   // do the token's policies allow this?
		g.announce, // a change is in the audit log before it happens
		g.serve,    // the engine does it
		g.prove,    // a login that needs more proof gets its token if that was brought along
		g.lease,    // what it hands out is on record, with how to take it back
		g.cover,    // the answer is wrapped, if that was asked for
	} {
		if err := step(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

func (g *Gate) begin(req *Request) *walk {
	w := &walk{Request: req, id: newID(), now: g.o.Now(), op: req.Op, in: g.root, home: g.root}
	if (w.op == policy.List || w.op == policy.Scan) && !strings.HasSuffix(req.Path, "/") {
		clone := *req
		clone.Path += "/"
		w.Request = &clone
	}
	return w
}

// route finds the namespace and in it the engine. A path nobody serves is no error yet: whether the
// caller may know that is for decide to say. What leads nowhere counts for the quotas too.
func (g *Gate) route(ctx context.Context, w *walk) error {
	for _, step := range [...]func(context.Context, *walk) error{named, g.enter, g.find, g.belong} {
		if err := step(ctx, w); err != nil {
			return cmp.Or(g.limit(ctx, w), err)
		}
	}
	always := false
	if w.slot != nil {
		special := &w.slot.Special
		always = engine.MatchPath(special.Sealed, w.below)
		w.open = engine.MatchPath(special.Open, w.below)
		w.pure = w.op == engine.Help || w.reads() && engine.MatchPath(special.Pure, w.below)
		w.quiet = always && w.open && w.pure
	}
	if !always && g.o.Barrier.Sealed() {
		return errSealed
	}
	return nil
}

func named(_ context.Context, w *walk) error { return checkPath(w.Path) }

// limit asks the quotas, which while sealed nobody can know.
func (g *Gate) limit(ctx context.Context, w *walk) error {
	if g.o.Quotas == nil || g.o.Barrier.Sealed() {
		return nil
	}
	asked := quota.Asked{Namespace: w.in.path, Path: w.full(), Client: w.Remote}
	if w.slot != nil {
		asked.Mount = w.in.path + w.slot.Mount.Path
	}
	return sealedOr(g.o.Quotas.Allow(ctx, asked, w.now))
}

func (w *walk) reads() bool {
	return w.op == policy.Read || w.op == policy.List || w.op == policy.Scan || w.op == engine.Help
}

// identify finds out who is asking. While sealed nobody can be known; then
// evidence is shown to those who prove that they hold one of our tokens.
func (g *Gate) identify(ctx context.Context, w *walk) (err error) {
	switch {
	case w.open:
		return nil
	case w.Token == "":
		return errDenied.WithHint("send a token")
	case !g.o.Barrier.Sealed():
		w.subject, err = w.home.tokens.Subject(ctx, w.Token)
		if w.unwraps = err != nil && w.asksForWrapped(); w.unwraps {
			return nil
		}
		if err == nil && !engine.InCIDRs(w.subject.CIDRs, w.Remote) {
			w.subject, err = nil, errDenied
		}
		return sealedOr(err)
	case !w.reads():
		return errSealed
	}
	ours, err := g.o.Tokens.Proof(ctx, w.Token)
	if err == nil && !ours {
		err = errDenied
	}
	return err
}

// asksForWrapped reports whether this is how old clients unwrap: they read their
// answer from the wrapping token's own drawer.
func (w *walk) asksForWrapped() bool {
	return w.op == policy.Read && w.Path == "cubbyhole/response" && engine.IsWrappingToken(w.Token)
}

// unwrap answers it as it was kept there: as text.
func (g *Gate) unwrap(ctx context.Context, w *walk) error {
	kept, err := w.home.wrapping.Take(ctx, w.Token)
	if err != nil {
		return errDenied
	}
	w.answer = &engine.Response{
		Data:     map[string]string{"response": string(kept)},
		Warnings: []string{"Reading from 'cubbyhole/response' is deprecated. Please use sys/wrapping/unwrap to unwrap responses, as it provides additional security checks and other benefits."},
	}
	return nil
}

// decide asks the subject's policies. Only who may use the path learns that
// nothing is mounted there.
func (g *Gate) decide(ctx context.Context, w *walk) error {
	if w.subject != nil {
		set, err := w.home.policies.Set(ctx, w.subject.Policies, w.subject.Identity)
		if err != nil {
			return sealedOr(err)
		}
		w.rights = set.Within(w.in.path[len(w.home.path):])
		if err := g.judge(ctx, w, w.rights); err != nil {
			return err
		}
		if !w.decision.Allowed {
			return ErrNotAllowed
		}
	}
	if w.slot == nil {
		return fault.New(fault.NotFound, "no handler for route %q. route entry not found.", w.full())
	}
	return nil
}

// judge finds the decision. A write is a create or an update; the engine is
// only asked which where that makes a difference.
func (g *Gate) judge(ctx context.Context, w *walk, set policy.Set) error {
	q := policy.Query{Path: w.Path, Need: w.op, Fields: w.Data, WrapTTL: w.WrapTTL}
	q.Sudo = w.slot != nil && engine.MatchPath(w.slot.Special.Sudo, w.below)
	if w.op == engine.Help {
		w.decision = policy.Decision{Allowed: true, Reason: "help is for everybody"}
		return nil
	}
	w.decision = set.Decide(q)
	if w.op != policy.Update || w.slot == nil {
		return nil
	}
	q.Need = policy.Create
	create := set.Decide(q)
	w.creates = create.Allowed
	if create.Allowed == w.decision.Allowed {
		return nil
	}
	exists, err := w.slot.Engine.Exists(ctx, w.below)
	if err == nil && !exists {
		w.op, w.decision = policy.Create, create
	}
	return err
}

// serve lets the engine answer.
func (g *Gate) serve(ctx context.Context, w *walk) (err error) {
	w.served = true
	if w.unwraps {
		return g.unwrap(ctx, w)
	}
	req := &engine.Request{
		ID: w.id, Op: w.op, Mount: w.slot.Mount.Path, Path: w.below,
		Data: w.Data, Body: w.Body, Query: w.Query,
		Subject: w.shown(), Rights: w.rights, Token: w.tokenForEngine(), Basic: w.basicForEngine(), Remote: w.Remote, Peer: w.Peer, Now: w.now, WrapTTL: w.WrapTTL, Creates: w.creates,
	}
	if w.op == engine.Help {
		w.answer, err = engine.Explain(w.slot, w.below)
		return err
	}
	w.answer, err = w.slot.Engine.Handle(ctx, req)
	if err == nil && (w.op == policy.List || w.op == policy.Scan) {
		w.answer, err = engine.Page(req, w.answer)
	}
	return sealedOr(err)
}

// prove makes the token of a login whose further proofs came with it. Where they are
// wrong the login is not told what it needs: whoever brings them knows.
func (g *Gate) prove(ctx context.Context, w *walk) error {
	if w.Codes == nil || w.answer == nil || w.answer.Auth == nil || w.answer.Auth.Needs == nil {
		return nil
	}
	id := w.answer.Auth.Needs.ID
	w.answer = nil
	if w.in.realm == nil || w.in.realm.Logins == nil {
		return errDenied
	}
	granted, err := w.in.realm.Logins.Prove(ctx, id, w.Codes)
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.Invalid) {
		return errDenied
	}
	if err != nil {
		return sealedOr(err)
	}
	w.answer = &engine.Response{Auth: granted, Warnings: granted.Warnings}
	return nil
}

// tokenForEngine is the clear token, for the fixed engines only: no secret
// engine needs it.
func (w *walk) tokenForEngine() string {
	if w.slot.Fixed {
		return w.Token
	}
	return ""
}

// basicForEngine is like tokenForEngine.
func (w *walk) basicForEngine() *engine.Basic {
	if w.slot.Fixed {
		return w.Basic
	}
	return nil
}

// lease makes the lease that the engine began an active one.
func (g *Gate) lease(ctx context.Context, w *walk) error {
	if w.answer == nil || w.answer.Secret == nil || w.answer.Renewed {
		return nil
	}
	return w.in.leases.Activate(ctx, w.answer.Secret.LeaseID)
}

// cover keeps the answer for whoever brings the token that is sent instead.
func (g *Gate) cover(ctx context.Context, w *walk) error {
	if w.answer != nil && w.answer.Wrap != nil {
		w.wrap = w.answer.Wrap
		return nil
	}
	if w.WrapTTL <= 0 || !w.answer.Wrappable() {
		return nil
	}
	about := engine.Wrap{TTL: w.WrapTTL, Path: w.Path, WrappedAccessor: w.answer.Accessor}
	if w.answer.Auth != nil {
		about.WrappedAccessor = w.answer.Auth.Accessor
	}
	kept := &Response{ID: w.id, Op: w.op, Answer: w.answer}
	body, err := kept.AppendEnvelope(nil)
	if err != nil {
		return err
	}
	w.wrap, err = w.in.wrapping.Keep(ctx, body, about)
	return err
}

// takeBack undoes what was handed out in an answer that will not leave. The
// caller may have hung up; that does not stop it.
func (g *Gate) takeBack(ctx context.Context, w *walk) {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	if w.answer != nil && w.answer.Stream != nil {
		errs = append(errs, w.answer.Stream.Close())
	}
	handed := w.answer != nil && !w.answer.Renewed
	if handed && w.answer.Auth != nil && w.answer.Auth.Accessor != "" { // a batch token nobody has seen is nobody's
		errs = append(errs, w.in.tokens.RevokeAccessor(ctx, w.answer.Auth.Accessor))
	}
	if handed && w.answer.Secret != nil {
		errs = append(errs, w.in.leases.Revoke(ctx, w.answer.Secret.LeaseID, false))
	}
	if w.wrap != nil {
		errs = append(errs, w.in.wrapping.Discard(ctx, w.wrap.Token))
	}
	for _, err := range errs {
		if err != nil {
			g.o.Logger.Error("take back what an unsent answer held", "request", w.id, "error", fault.Public(err))
		}
	}
}

// endToken takes back a token whose last use this request was.
func (g *Gate) endToken(ctx context.Context, w *walk) {
	err := w.home.tokens.RevokeAccessor(context.WithoutCancel(ctx), w.subject.Accessor)
	if err != nil && !fault.Is(err, fault.Invalid) { // Invalid: it has revoked itself
		g.o.Logger.Error("revoke spent token", "request", w.id, "error", fault.Public(err))
	}
}

// Streams reports whether the engine wants a request's body unread. Those of the root
// namespace alone do.
func (g *Gate) Streams(ctx context.Context, path string) bool {
	slot, below, err := g.o.Mounts.Resolve(ctx, path)
	return err == nil && slot != nil && engine.MatchPath(slot.Special.Streaming, below)
}
