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
	Rematch   func(ctx context.Context, ev verdict.Evidence) (verdict.Evidence, error)
	Sealed    func() bool
	TTL       time.Duration // of certificates and tokens; default 10 minutes
	Log       *slog.Logger
}

// Service admits instances and watches over them.
type Service struct {
	o Options

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever an instance changed
	secrets int64         // counts writes to secrets on this node
}

var steps = []string{`
CREATE TABLE identity_instance (
	id TEXT PRIMARY KEY, workload TEXT NOT NULL, environment TEXT NOT NULL, node TEXT NOT NULL, image TEXT NOT NULL,
	state TEXT NOT NULL, settled BIGINT NOT NULL, expires BIGINT NOT NULL, revision BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX identity_instance_image ON identity_instance (image, environment);
CREATE INDEX identity_instance_node ON identity_instance (node, revision);
CREATE INDEX identity_instance_revision ON identity_instance (revision);
CREATE INDEX identity_instance_unsettled ON identity_instance (settled) WHERE settled = 0;
CREATE INDEX identity_instance_expires ON identity_instance (state, expires);
`}

// New prepares the room's table.
func New(ctx context.Context, o Options) (*Service, error) {
	if o.TTL <= 0 {
		o.TTL = 10 * time.Minute
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
	if err := s.judge(ctx, img, w.Environment); err != nil {
		return nil, err
	}
	in := Instance{
		ID: strings.ToLower(rand.Text()), Workload: w.Name, Environment: w.Environment, Owner: w.Owner, Node: ev.Node,
		Image: img.ID, Kind: ev.Kind, Container: ev.Container, UID: int(ev.UID), State: Active,
		Created: s.o.Store.Now(), Expires: s.o.Store.Now().Add(s.o.TTL),
	}
	if err := s.insert(ctx, in); err != nil {
		return nil, err
	}
	// The verdict may have changed before the instance was there to be found: ask
	// again now that it is.
	if err := s.judge(ctx, img, w.Environment); err != nil {
		return nil, s.abandon(ctx, in, err)
	}
	grant, err := s.grant(ctx, in, w, request)
	if err != nil {
		return nil, s.abandon(ctx, in, err)
	}
	return grant, nil
}

// seen finds the image of the evidence.
func (s *Service) seen(ctx context.Context, ev attest.Evidence) (*catalog.Image, error) {
	digest, kind := ev.Image, image.KindImage
	if ev.Kind == attest.KindProcess {
		digest, kind = ev.Executable, image.KindArtifact
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
	if img.ID != id { // a manifest digest: the agent must name the config
		return nil, fault.New(fault.Refused, "the evidence names a manifest, not the image's config digest")
	}
	if img.Evidence != nil && ev.ChainID != "" && img.Evidence.Image.ChainID != "" && ev.ChainID != img.Evidence.Image.ChainID {
		return nil, &Refusal{Err: fault.New(fault.Refused, "the running file system is not the one of image %s", id)}
	}
	return img, nil
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
func (s *Service) judge(ctx context.Context, img *catalog.Image, environment string) error {
	env, err := s.o.Catalog.Environment(ctx, environment)
	if err != nil {
		return err
	}
	fresh, err := s.o.Catalog.Find(ctx, img.ID)
	if err != nil {
		return err
	}
	v, err := s.o.Catalog.Judge(ctx, fresh, *env, s.o.Store.Now())
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

// grant issues certificate and token for an instance that is already recorded.
func (s *Service) grant(ctx context.Context, in Instance, w *workload.Workload, request []byte) (*Grant, error) {
	authority, err := s.o.Authority(ctx)
	if err != nil {
		return nil, err
	}
	svid, err := authority.SignWorkload(request, ca.Name{Environment: in.Environment, Workload: in.Workload}, s.o.TTL, s.o.Store.Now())
	if err != nil {
		return nil, err
	}
	in.SPIFFEID, in.Serial = svid.ID, svid.Serial
	g := &Grant{Workload: *w, Certificate: svid.Chain, Bundle: authority.Bundle(), TTL: s.o.TTL}
	if in.Accessor == "" {
		if g.Token, in.Accessor, err = s.o.Tokens.Issue(ctx, in, w.PolicyName(), s.o.TTL); err != nil {
			return nil, fmt.Errorf("issue token: %w", err)
		}
	} else if err := s.o.Tokens.Extend(ctx, in.Accessor, s.o.TTL); err != nil {
		return nil, fmt.Errorf("extend token: %w", err)
	}
	g.Instance, err = s.change(ctx, in.ID, func(now *Instance) error {
		if now.State == Revoked || now.State == Gone {
			return &Refusal{Err: fault.New(fault.Refused, "the instance was taken back meanwhile: %s", now.Reason)}
		}
		now.SPIFFEID, now.Serial, now.Accessor = in.SPIFFEID, in.Serial, in.Accessor
		now.Expires = s.o.Store.Now().Add(s.o.TTL)
		return nil
	})
	return g, err
}

// abandon ends an instance whose admission failed half-way, and returns why.
func (s *Service) abandon(ctx context.Context, in Instance, why error) error {
	if err := s.end(ctx, in.ID, Gone, "its admission failed"); err != nil {
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
	if in.State == Revoked || in.State == Gone {
		return nil, &Refusal{Err: fault.New(fault.Refused, "the identity of this instance was taken back: %s", in.Reason)}
	}
	w, err := s.o.Workloads.Get(ctx, in.Workload)
	if err != nil {
		return nil, err
	}
	return s.grant(ctx, *in, w, request)
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
