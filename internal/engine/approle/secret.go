// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package approle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// secret is what is kept of a secret ID.
type secret struct {
	Accessor   string            `json:"accessor"`
	Meta       map[string]string `json:"meta,omitempty"`
	CIDRs      []string          `json:"cidrs,omitempty"`
	TokenCIDRs []string          `json:"tokenCIDRs,omitempty"`
	Uses       int               `json:"uses,omitempty"` // left; 0: no limit
	TTL        time.Duration     `json:"ttl,omitempty"`
	Created    time.Time         `json:"created"`
	Updated    time.Time         `json:"updated"`
	Expires    time.Time         `json:"expires,omitzero"`
}

func secretsOf(r *role) string   { return "secret/" + r.UUID }
func accessorsOf(r *role) string { return "accessor/" + r.UUID }

// hashed is the name a secret ID is kept under. It is random and long: a plain hash
// gives nothing away, and the barrier blinds it once more.
func hashed(r *role, id string) string {
	sum := sha256.Sum256([]byte(id))
	return secretsOf(r) + "/" + hex.EncodeToString(sum[:])
}

func (e *Engine) secretRoutes() []engine.Route {
	const asked = "metadata cidr_list:list token_bound_cidrs:list num_uses:int ttl:duration"
	return []engine.Route{
		{Path: "role/{name}/secret-id", Ops: engine.Ops{Write: e.newSecret, List: e.listSecrets}, Takes: asked, Help: "A new second half; the accessors of all."},
		{Path: "role/{name}/custom-secret-id", Ops: engine.Ops{Write: e.customSecret}, Takes: "secret_id " + asked, Help: "A second half that the caller chose."},
		{Path: "role/{name}/secret-id/lookup", Ops: engine.Ops{Write: e.lookup}, Takes: "secret_id", Help: "What is known of a secret ID."},
		{Path: "role/{name}/secret-id/destroy", Ops: engine.Ops{Write: e.destroy, Delete: e.destroy}, Takes: "secret_id", Help: "End a secret ID."},
		{Path: "role/{name}/secret-id-accessor/lookup", Ops: engine.Ops{Write: e.lookupAccessor}, Takes: "secret_id_accessor", Help: "What is known of a secret ID."},
		{Path: "role/{name}/secret-id-accessor/destroy", Ops: engine.Ops{Write: e.destroyAccessor, Delete: e.destroyAccessor}, Takes: "secret_id_accessor", Help: "End a secret ID."},
	}
}

func (e *Engine) newSecret(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	return e.addSecret(ctx, req, v["name"], newID())
}

func (e *Engine) customSecret(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	id := f.Text("secret_id")
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case id == "":
		return nil, fault.New(fault.Invalid, "missing secret_id")
	case len(id) > maxID:
		return nil, fault.New(fault.Invalid, "a secret_id has at most %d bytes", maxID)
	}
	return e.addSecret(ctx, req, v["name"], id)
}

// addSecret keeps a new secret ID. What the request asks for may only be tighter
// than what the role says.
func (e *Engine) addSecret(ctx context.Context, req *engine.Request, name, id string) (*engine.Response, error) {
	f := engine.Read(req)
	var s *secret
	err := e.Space.Update(ctx, func(w barrier.Writer) error {
		r, err := load(ctx, w, name)
		if err != nil {
			return err
		}
		switch {
		case r == nil:
			return fault.New(fault.NotFound, "role %q does not exist", name)
		case !r.BindSecret:
			return fault.New(fault.Invalid, "bind_secret_id is not set on the role")
		}
		if s, err = r.secret(f, req.Now); err != nil {
			return err
		}
		there, err := w.Get(ctx, hashed(r, id))
		if err != nil {
			return err
		}
		if there != nil {
			return fault.New(fault.Invalid, "SecretID is already registered")
		}
		if err := w.Put(ctx, barrier.Entry{Path: accessorsOf(r) + "/" + s.Accessor, Value: []byte(hashed(r, id)), Expires: s.Expires}); err != nil {
			return err
		}
		return s.save(ctx, w, hashed(r, id))
	})
	if err != nil {
		return nil, err
	}
	return &engine.Response{Accessor: s.Accessor, Data: map[string]any{
		"secret_id": id, "secret_id_accessor": s.Accessor, "secret_id_ttl": int64(s.TTL / time.Second), "secret_id_num_uses": s.Uses,
	}}, nil
}

func (s *secret) save(ctx context.Context, w barrier.Writer, path string) error {
	return w.Put(ctx, barrier.Entry{Path: path, Value: engine.Stored(s), Expires: s.Expires})
}

// secret is a new secret ID of a role, as a request wants it.
func (r *role) secret(f *engine.Fields, now time.Time) (*secret, error) {
	s := &secret{Accessor: newID(), Uses: f.Int("num_uses", r.SecretUses), TTL: r.SecretTTL, Created: now, Updated: now}
	if f.Has("ttl") {
		s.TTL = f.Duration("ttl")
	}
	if f.Text("metadata") != "" {
		inner := engine.Read(&engine.Request{Data: map[string]json.RawMessage{"metadata": f.Inner("metadata")}})
		if s.Meta = inner.Pairs("metadata"); inner.Err() != nil {
			return nil, fault.New(fault.Invalid, "failed to parse metadata: failed to parse the input: invalid <key,value> format")
		}
	}
	var err error
	if s.CIDRs, err = engine.CIDRs(f.List("cidr_list")); err != nil {
		return nil, err
	}
	if s.TokenCIDRs, err = engine.CIDRs(f.List("token_bound_cidrs")); err != nil {
		return nil, err
	}
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case s.Uses < 0:
		return nil, fault.New(fault.Invalid, "num_uses cannot be negative")
	case r.SecretUses > 0 && (s.Uses == 0 || s.Uses > r.SecretUses):
		return nil, fault.New(fault.Invalid, "num_uses cannot be higher than the role's secret_id_num_uses")
	case r.SecretTTL > 0 && (s.TTL == 0 || s.TTL > r.SecretTTL):
		return nil, fault.New(fault.Invalid, "ttl cannot be longer than the role's secret_id_ttl")
	case !within(s.CIDRs, r.SecretCIDRs):
		return nil, fault.New(fault.Invalid, "cidr_list must lie within the role's secret_id_bound_cidrs")
	case !within(s.TokenCIDRs, r.Token.CIDRs):
		return nil, fault.New(fault.Invalid, "token_bound_cidrs must lie within the role's token_bound_cidrs")
	}
	if s.TTL > 0 {
		s.Expires = now.Add(s.TTL)
	}
	return s, nil
}

// within reports whether each range lies in one of the others; no others hold all.
func within(ranges, others []string) bool {
	if len(others) == 0 {
		return true
	}
	for _, text := range ranges {
		inner, held := prefix(text), false
		for _, o := range others {
			outer := prefix(o)
			held = held || outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
		}
		if !held {
			return false
		}
	}
	return true
}

func prefix(text string) netip.Prefix {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr, addr.BitLen())
}

// spent reports whether a secret ID opens nothing any more.
func (s *secret) spent(now time.Time) bool { return !s.Expires.IsZero() && !now.Before(s.Expires) }

func loadSecret(ctx context.Context, r barrier.Reader, path string, now time.Time) (*secret, error) {
	s, err := engine.Found[secret](ctx, r, path)
	if err != nil || s == nil {
		return nil, err
	}
	if s.spent(now) {
		return nil, nil
	}
	return s, nil
}

func (e *Engine) listSecrets(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, err := e.role(ctx, v["name"])
	if err == nil && r == nil {
		err = fault.New(fault.NotFound, "role %q does not exist", v["name"])
	}
	if err != nil {
		return nil, err
	}
	return e.Names(ctx, accessorsOf(r))
}

// of reads a role and the field that names one of its secret IDs.
func (e *Engine) of(ctx context.Context, req *engine.Request, name, field string) (*role, string, error) {
	f := engine.Read(req)
	text := f.Text(field)
	if f.Err() == nil && text == "" {
		return nil, "", fault.New(fault.Invalid, "missing %s", field)
	}
	if f.Err() != nil {
		return nil, "", f.Err()
	}
	r, err := e.role(ctx, name)
	if err == nil && r == nil {
		err = fault.New(fault.NotFound, "role %q does not exist", name)
	}
	return r, text, err
}

func (e *Engine) lookup(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, id, err := e.of(ctx, req, v["name"], "secret_id")
	if err != nil {
		return nil, err
	}
	return e.showSecret(ctx, req, hashed(r, id))
}

func (e *Engine) showSecret(ctx context.Context, req *engine.Request, path string) (*engine.Response, error) {
	var s *secret
	err := e.Space.View(ctx, func(b barrier.Reader) (err error) {
		s, err = loadSecret(ctx, b, path, req.Now)
		return err
	})
	if err != nil || s == nil {
		return nil, err // a write without an answer: 204
	}
	data := map[string]any{
		"secret_id_accessor": s.Accessor, "secret_id_num_uses": s.Uses, "secret_id_ttl": int64(s.TTL / time.Second), "metadata": s.Meta,
		"cidr_list": some(s.CIDRs), "token_bound_cidrs": some(s.TokenCIDRs), "creation_time": s.Created, "last_updated_time": s.Updated,
		"expiration_time": time.Time{},
	}
	if !s.Expires.IsZero() {
		data["expiration_time"] = s.Expires
	}
	if s.Meta == nil {
		data["metadata"] = map[string]string{}
	}
	return &engine.Response{Data: data}, nil
}

func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (e *Engine) destroy(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, id, err := e.of(ctx, req, v["name"], "secret_id")
	if err != nil {
		return nil, err
	}
	return nil, e.drop(ctx, r, hashed(r, id))
}

func (e *Engine) drop(ctx context.Context, r *role, path string) error {
	return e.Space.Update(ctx, func(w barrier.Writer) error {
		s, err := loadSecret(ctx, w, path, time.Time{}) // also one whose time has passed
		if err != nil || s == nil {
			return err
		}
		if err := w.Delete(ctx, accessorsOf(r)+"/"+s.Accessor); err != nil {
			return err
		}
		return w.Delete(ctx, path)
	})
}

// byAccessor is the place of the secret ID an accessor names.
func (e *Engine) byAccessor(ctx context.Context, req *engine.Request, name string) (*role, string, error) {
	r, accessor, err := e.of(ctx, req, name, "secret_id_accessor")
	if err != nil {
		return nil, "", err
	}
	var path string
	err = e.Space.View(ctx, func(b barrier.Reader) error {
		found, err := b.Get(ctx, accessorsOf(r)+"/"+accessor)
		if found != nil {
			path = string(found.Value)
		}
		return err
	})
	if err == nil && path == "" {
		err = fault.New(fault.NotFound, "failed to find accessor entry for secret_id_accessor: %q", accessor)
	}
	return r, path, err
}

func (e *Engine) lookupAccessor(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	_, path, err := e.byAccessor(ctx, req, v["name"])
	if err != nil {
		return nil, err
	}
	resp, err := e.showSecret(ctx, req, path)
	if err == nil && resp == nil {
		err = fault.New(fault.NotFound, "the secret ID has expired")
	}
	return resp, err
}

func (e *Engine) destroyAccessor(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, path, err := e.byAccessor(ctx, req, v["name"])
	if err != nil {
		return nil, err
	}
	return nil, e.drop(ctx, r, path)
}

// tidyBatch is how many secret IDs one step of tidying removes.
const tidyBatch = 1000

// tidy removes secret IDs whose time has passed. No answer depends on it.
func (e *Engine) tidy(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	for {
		old, err := e.Space.Expired(ctx, req.Now, tidyBatch)
		if err != nil {
			return nil, err
		}
		if len(old) > 0 {
			err = e.Space.Update(ctx, func(w barrier.Writer) error { return engine.Sweep(ctx, w, old, req.Now) })
		}
		if err != nil || len(old) < tidyBatch {
			return &engine.Response{Status: 202, Warnings: []string{"Tidy operation successfully done."}}, err
		}
	}
}
