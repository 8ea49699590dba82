// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package identity gives a running workload a short-lived identity, and takes it
// back: verdict + attestation -> instance, certificate, token. It closes the loop:
// when the evidence, the rules or the time change, exactly the instances
// concerned are judged again (loop.go).
package identity

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/ca"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/workload"
)

// State is where an instance is in its life.
type State string

// The states of an instance.
const (
	Active  State = "active"  // has its identity
	Warned  State = "warned"  // has it still; Reason and Until say what is coming
	Revoked State = "revoked" // lost it; Reason says why
	Gone    State = "gone"    // ended, or not heard of for its lifetime
)

// Instance is one running copy of a workload.
type Instance struct {
	ID          string       `json:"id"`
	Workload    string       `json:"workload"`
	Environment string       `json:"environment"`
	Owner       string       `json:"owner"`
	Node        string       `json:"node"`
	Image       image.Digest `json:"image"`
	Kind        string       `json:"kind"` // "podman", "process"
	Container   string       `json:"container,omitempty"`
	UID         int          `json:"uid"`
	State       State        `json:"state"`
	Reason      string       `json:"reason,omitempty"`
	Until       time.Time    `json:"until,omitzero"` // warned: when it will be taken back
	Created     time.Time    `json:"created"`
	Expires     time.Time    `json:"expires"`
	SPIFFEID    string       `json:"spiffeId"`
	Serial      string       `json:"serial"` // of the certificate, hex
	Accessor    string       `json:"-"`      // of its token
	Revision    int64        `json:"revision"`
}

// Grant is what an admitted workload gets.
type Grant struct {
	Instance    Instance
	Workload    workload.Workload
	Token       string // empty after a renewal: the token stays, its life is longer
	Certificate []byte // PEM chain, leaf first
	Bundle      []byte // PEM
	TTL         time.Duration
}

// Refusal is why a workload got nothing.
type Refusal struct {
	Wanted  bool             // the server has never seen the image: bring it
	Verdict *verdict.Verdict // the rules that failed
	Err     *fault.Error
}

// Error tells the reason in one line.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap gives the kind and hint.
func (r *Refusal) Unwrap() error { return r.Err }

// Tokens is what this room needs of the token store.
type Tokens interface {
	// Issue makes a token that belongs to an instance.
	Issue(ctx context.Context, in Instance, policy string, ttl time.Duration) (token, accessor string, err error)
	// Extend sets the token's remaining life to ttl.
	Extend(ctx context.Context, accessor string, ttl time.Duration) error
	// EndInstance ends all tokens of an instance as part of a transaction.
	EndInstance(ctx context.Context, tx store.Tx, instance string) error
	// RevokeInstance ends all tokens of an instance with their leases. When it has
	// returned no node accepts them.
	RevokeInstance(ctx context.Context, instance string) (int, error)
}

// Event is a decision nobody asked for, to be recorded.
type Event struct {
	Name     string // "instance.revoked", ...
	Instance Instance
	Reason   string
}

// Options are what the service works with.
type Options struct {
	Store     store.Store
	Catalog   *catalog.Catalog
	Workloads *workload.Book
	Authority func(ctx context.Context) (*ca.Authority, error)
	Tokens    Tokens
	Record    func(ctx context.Context, e Event) error
	Sealed    func() bool
	TTL       time.Duration // of certificates and tokens; default 10 minutes
	Log       *slog.Logger
}

// Service admits instances and watches over them.
type Service struct {
	o Options

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced whenever an instance changed
	secrets   int64         // counts writes to secrets on this node
	published int64         // how many of them the other nodes were told of
	settled   bool          // what an earlier run left behind has been looked at
}

var steps = []string{`
CREATE TABLE identity_instance (
	id TEXT PRIMARY KEY, workload TEXT NOT NULL, environment TEXT NOT NULL, node TEXT NOT NULL, image TEXT NOT NULL,
	state TEXT NOT NULL, expires BIGINT NOT NULL, revision BIGINT NOT NULL,
	pending BIGINT NOT NULL, noted BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX identity_instance_workload ON identity_instance (workload, state);
CREATE INDEX identity_instance_image ON identity_instance (image, environment);
CREATE INDEX identity_instance_node ON identity_instance (node, revision);
CREATE INDEX identity_instance_revision ON identity_instance (revision);
CREATE INDEX identity_instance_pending ON identity_instance (noted) WHERE pending > 0;
CREATE INDEX identity_instance_expires ON identity_instance (state, expires);
CREATE TABLE identity_secrets (id BIGINT PRIMARY KEY, revision BIGINT NOT NULL);
`}

// over reports whether the instance has lost its identity for good.
func (in Instance) over() bool { return in.State == Revoked || in.State == Gone }

// New prepares the room's tables.
func New(ctx context.Context, o Options) (*Service, error) {
	if o.TTL <= 0 {
		o.TTL = 10 * time.Minute
	}
	if o.TTL > ca.MaxTTL {
		return nil, fault.New(fault.Invalid, "identities live %s; the longest allowed is %s", o.TTL, ca.MaxTTL).
			WithHint("set identityTTL in the server's configuration to at most %s", ca.MaxTTL)
	}
	if err := o.Store.Migrate(ctx, "identity", steps); err != nil {
		return nil, err
	}
	return &Service{o: o, changed: make(chan struct{})}, nil
}

// Admit judges a workload by the evidence an agent gathered on it and, where its
// image is admitted, gives it an identity. A refusal is a *Refusal. request is a
// PEM certificate request; only its key is used.
func (s *Service) Admit(ctx context.Context, ev attest.Evidence, request []byte) (*Grant, error) {
	img, err := s.seen(ctx, ev)
	if err != nil {
		return nil, err
	}
	w, err := s.workload(ctx, img, ev)
	if err != nil {
		return nil, err
	}
	if err := s.judge(ctx, img.ID, w.Environment); err != nil {
		return nil, err
	}
	cert, err := s.certify(ctx, w.Environment, w.Name, request)
	if err != nil {
		return nil, err
	}
	in := Instance{
		ID: strings.ToLower(rand.Text()), Workload: w.Name, Environment: w.Environment, Owner: w.Owner, Node: ev.Node,
		Image: img.ID, Kind: ev.Kind, Container: ev.Container, UID: int(ev.UID), State: Active,
		Created: s.o.Store.Now(), Expires: s.o.Store.Now().Add(s.o.TTL), SPIFFEID: cert.svid.ID, Serial: cert.svid.Serial,
	}
	if err := s.insert(ctx, &in); err != nil {
		return nil, err
	}
	grant, err := s.complete(ctx, in, w, cert)
	if err != nil {
		return nil, s.abandon(ctx, in, err)
	}
	return grant, nil
}

// complete asks everything again, now that the instance is there to be found: the
// verdict or the workload may have changed just before.
func (s *Service) complete(ctx context.Context, in Instance, w *workload.Workload, cert *certificate) (*Grant, error) {
	if err := s.judge(ctx, in.Image, in.Environment); err != nil {
		return nil, err
	}
	why, err := s.misplaced(ctx, in)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, &Refusal{Err: fault.New(fault.Refused, "%s", why)}
	}
	return s.grant(ctx, in, w, cert)
}

// maxText bounds the texts of evidence that are kept with an instance.
const maxText = 128

// seen finds the image of the evidence.
func (s *Service) seen(ctx context.Context, ev attest.Evidence) (*catalog.Image, error) {
	digest, kind := ev.Image, image.KindImage
	switch ev.Kind {
	case attest.KindPodman:
	case attest.KindProcess:
		digest, kind = ev.Executable, image.KindArtifact
	default:
		return nil, fault.New(fault.Invalid, "evidence of the kind %.40q is not known", ev.Kind)
	}
	if len(ev.Container) > maxText || len(ev.Node) > maxText {
		return nil, fault.New(fault.Invalid, "the evidence names a node or container of over %d bytes", maxText)
	}
	id, err := image.ParseDigest(digest)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the evidence names no image: %w", err)
	}
	img, err := s.o.Catalog.Find(ctx, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if err != nil || img.State == catalog.Wanted {
		name := ev.ImageName
		if name == "" {
			name = ev.Program
		}
		if err := s.o.Catalog.Want(ctx, id, name, kind); err != nil {
			return nil, err
		}
		return nil, &Refusal{Wanted: true, Err: fault.New(fault.Refused, "the image %s has never been seen here: denied until it is known", id).
			WithHint("the agent brings it by itself; or bring it with: goldkeep image add IMAGE")}
	}
	if img.State == catalog.Failed {
		return nil, &Refusal{Wanted: !s.o.Store.Now().Before(img.Scanned.Add(retryAfter)), Err: fault.New(fault.Refused, "the image %s could not be scanned: %s", id, img.Error).
			WithHint("repair or rebuild it, then bring it with: goldkeep image add IMAGE")}
	}
	return img, matches(img, ev, id, kind)
}

// retryAfter is how long after a failed scan agents are asked to bring an image
// again: somebody may have sent a damaged copy of a good one.
const retryAfter = 10 * time.Minute

// matches refuses evidence that contradicts what is known of its image.
func matches(img *catalog.Image, ev attest.Evidence, id image.Digest, kind image.Kind) error {
	var why *fault.Error
	switch {
	case img.ID != id:
		why = fault.New(fault.Refused, "the evidence names a manifest, not the image's config digest")
	case img.Kind != string(kind):
		why = fault.New(fault.Refused, "the evidence calls %s an %s, but it is an %s", id, kind, img.Kind)
	case kind == image.KindImage && ev.ChainID != img.Evidence.Image.ChainID:
		why = fault.New(fault.Refused, "the running file system is not the one of image %s", id)
	default:
		return nil
	}
	return &Refusal{Err: why}
}

// workload finds the one workload the evidence belongs to.
func (s *Service) workload(ctx context.Context, img *catalog.Image, ev attest.Evidence) (*workload.Workload, error) {
	channels, err := s.o.Catalog.Channels(ctx, img.ID)
	if err != nil {
		return nil, err
	}
	var lines []workload.Image
	for _, ch := range channels {
		lines = append(lines, workload.Image{Golden: ch.Golden, Channel: ch.Name})
	}
	w, err := s.o.Workloads.Running(ctx, lines, workload.Place{Node: ev.Node, UID: int(ev.UID)})
	if err != nil {
		return nil, refused(err)
	}
	return w, nil
}

// refused makes a Refusal of a fault.Refused; other errors stay.
func refused(err error) error {
	if !fault.Is(err, fault.Refused) {
		return err
	}
	return &Refusal{Err: fault.New(fault.Refused, "%w", err).WithHint("%s", fault.HintOf(err))}
}

// judge refuses an image its environment does not admit.
func (s *Service) judge(ctx context.Context, id image.Digest, environment string) error {
	env, err := s.o.Catalog.Environment(ctx, environment)
	if fault.Is(err, fault.NotFound) {
		return refused(fault.New(fault.Refused, "%w", err).WithHint("declare it: goldkeep apply -f"))
	}
	if err != nil {
		return err
	}
	img, err := s.o.Catalog.Find(ctx, id)
	if err != nil {
		return err
	}
	v, err := s.o.Catalog.Judge(ctx, img, *env, s.o.Store.Now())
	if err != nil {
		return err
	}
	if v.Admitted() {
		return nil
	}
	return &Refusal{Verdict: &v, Err: fault.New(fault.Refused, "environment %s does not admit this image: %s", environment, summary(v.Admit)).
		WithHint("%s", remedy(v.Admit))}
}

// summary joins what failed into one line.
func summary(o verdict.Outcome) string {
	var texts []string
	for _, r := range o.Reasons {
		if r.Answer != verdict.Yes {
			texts = append(texts, r.Text)
		}
	}
	if len(texts) == 0 {
		return "the answer is " + string(o.Answer)
	}
	return strings.Join(texts, "; ")
}

func remedy(o verdict.Outcome) string {
	for _, r := range o.Reasons {
		if r.Answer != verdict.Yes && r.Remedy != "" {
			return r.Remedy
		}
	}
	return ""
}

// certificate is a signed one with those that vouch for it.
type certificate struct {
	svid   *ca.SVID
	bundle []byte
}

// certify signs a certificate for the key of a request. It leaves nothing behind:
// a certificate nobody got is none.
func (s *Service) certify(ctx context.Context, environment, name string, request []byte) (*certificate, error) {
	authority, err := s.o.Authority(ctx)
	if err != nil {
		return nil, err
	}
	svid, err := authority.SignWorkload(request, ca.Name{Environment: environment, Workload: name}, s.o.TTL, s.o.Store.Now())
	if err != nil {
		return nil, err
	}
	return &certificate{svid, authority.Bundle()}, nil
}

// grant issues or extends the token of an instance that is already recorded.
func (s *Service) grant(ctx context.Context, in Instance, w *workload.Workload, cert *certificate) (*Grant, error) {
	g := &Grant{Workload: *w, Certificate: cert.svid.Chain, Bundle: cert.bundle, TTL: s.o.TTL}
	var err error
	if in.Accessor == "" {
		if g.Token, in.Accessor, err = s.o.Tokens.Issue(ctx, in, w.PolicyName(), s.o.TTL); err != nil {
			return nil, fmt.Errorf("issue token: %w", err)
		}
	} else if err := s.o.Tokens.Extend(ctx, in.Accessor, s.o.TTL); err != nil {
		return nil, fmt.Errorf("extend token: %w", err)
	}
	g.Instance, err = s.change(ctx, in.ID, quietly, func(now *Instance) error {
		if now.over() {
			return taken(*now)
		}
		now.SPIFFEID, now.Serial, now.Accessor = cert.svid.ID, cert.svid.Serial, in.Accessor
		now.Expires = s.o.Store.Now().Add(s.o.TTL)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// taken is the refusal of an instance that is over.
func taken(in Instance) error {
	return &Refusal{Err: fault.New(fault.Refused, "the identity of this instance was taken back: %s", in.Reason).
		WithHint("once the reason is gone, start the workload again")}
}

// abandon ends an instance whose admission failed half-way, and returns why. The
// caller may have hung up; that does not stop it.
func (s *Service) abandon(ctx context.Context, in Instance, why error) error {
	ctx = context.WithoutCancel(ctx)
	err := s.end(ctx, in.ID, Gone, "its admission was not completed")
	if err == nil {
		// It may have been ended before by somebody who did not see its token yet.
		_, err = s.o.Tokens.RevokeInstance(ctx, in.ID)
	}
	if err != nil {
		s.o.Log.Error("abandon instance", "instance", in.ID, "error", err)
	}
	return why
}

// Renew judges an instance again and, where it may stay, makes its certificate
// and token live on. One that was taken back is a *Refusal.
func (s *Service) Renew(ctx context.Context, id, node string, request []byte) (*Grant, error) {
	in, err := s.own(ctx, id, node)
	if err != nil {
		return nil, err
	}
	if err := s.reconsider(ctx, *in); err != nil {
		return nil, err
	}
	if in, err = s.own(ctx, id, node); err != nil {
		return nil, err
	}
	if in.over() {
		return nil, taken(*in)
	}
	w, err := s.o.Workloads.Get(ctx, in.Workload)
	if err != nil {
		return nil, err
	}
	cert, err := s.certify(ctx, in.Environment, in.Workload, request)
	if err != nil {
		return nil, err
	}
	grant, err := s.grant(ctx, *in, w, cert)
	if err != nil {
		// Its token may be gone because it was taken back this very moment.
		if now, lost := s.Get(ctx, id); lost == nil && now.over() {
			return nil, taken(*now)
		}
		return nil, err
	}
	return grant, nil
}

// Leave ends an instance whose process has ended.
func (s *Service) Leave(ctx context.Context, id, node string) error {
	if _, err := s.own(ctx, id, node); err != nil {
		return err
	}
	return s.end(ctx, id, Gone, "it ended")
}

// own finds an instance of a node; another node's is not found.
func (s *Service) own(ctx context.Context, id, node string) (*Instance, error) {
	in, err := s.Get(ctx, id)
	if err == nil && in.Node != node {
		err = fault.New(fault.NotFound, "there is no instance %q on node %s", id, node)
	}
	return in, err
}
