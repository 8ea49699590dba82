// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package factor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// held is a login that waits for its proofs.
type held struct {
	Token  auth.NewToken       `json:"token"` // what it becomes
	Entity string              `json:"entity"`
	Needs  map[string][]string `json:"needs"` // ids of methods by the enforcement: one of each is needed
}

// Limits of held logins.
const (
	heldFor   = 5 * time.Minute
	sweptHeld = 20  // how many old ones go when a new one is kept
	maxProofs = 100 // of one request
	maxCode   = 256 // bytes
)

func heldPath(requestID string) string {
	sum := sha256.Sum256([]byte(requestID))
	return "held/" + hex.EncodeToString(sum[:])
}

// hold keeps a login and says what it needs.
func (e *Engine) hold(ctx context.Context, n auth.NewToken, who *entity.Identity, all []*enforcement) (*auth.Granted, error) {
	h := held{Token: n, Needs: map[string][]string{}}
	if who != nil {
		h.Entity = who.Entity.ID
	}
	asks := &auth.Requirement{ID: entity.Random(), Any: map[string][]auth.Proof{}}
	now := e.o.Space.Now()
	old, err := e.o.Space.Expired(ctx, now, sweptHeld)
	if err != nil {
		return nil, err
	}
	err = e.o.Space.Update(ctx, func(w barrier.Writer) error {
		clear(asks.Any)
		for _, x := range all {
			h.Needs[x.Name], asks.Any[x.Name] = x.Methods, []auth.Proof{}
			for _, id := range x.Methods {
				m, err := engine.Found[method](ctx, w, methodPath(id))
				if err != nil {
					return err
				}
				if m != nil {
					asks.Any[x.Name] = append(asks.Any[x.Name], auth.Proof{Type: m.Type, ID: m.ID, Passcode: m.Type == totpType || m.Yes["use_passcode"], Name: m.Name})
				}
			}
		}
		if err := engine.Sweep(ctx, w, old, now); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: heldPath(asks.ID), Value: engine.Stored(&h), Expires: now.Add(heldFor)})
	})
	if err != nil {
		return nil, err
	}
	return &auth.Granted{Type: "default", Needs: asks, Warnings: []string{warning}}, nil
}

// validate is sys/mfa/validate: the proofs of a held login by the ids or names of the
// methods.
func (e *Engine) validate(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	id := f.Text("mfa_request_id")
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case id == "":
		return nil, fault.New(fault.Invalid, "missing request ID")
	}
	var proofs map[string][]string
	if f.Has("mfa_payload") && json.Unmarshal(f.Raw("mfa_payload"), &proofs) != nil {
		return nil, fault.New(fault.Invalid, "invalid mfa payload")
	}
	granted, err := e.Prove(ctx, id, proofs)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Auth: granted, Warnings: granted.Warnings}, nil
}

// Prove turns a held login into its token, once, where the proofs satisfy every
// enforcement. They are codes by the ids or names of methods. fault.Invalid: there is
// no such login (any more); fault.Denied: a proof is missing or wrong.
func (e *Engine) Prove(ctx context.Context, requestID string, proofs map[string][]string) (*auth.Granted, error) {
	if len(proofs) > maxProofs {
		return nil, fault.New(fault.Invalid, "invalid mfa payload")
	}
	var h *held
	var refused error // also then what was tried is noted
	err := e.o.Space.Update(ctx, func(w barrier.Writer) error {
		h, refused = nil, nil
		entry, err := w.Get(ctx, heldPath(requestID))
		if err != nil {
			return err
		}
		if entry == nil || !e.o.Space.Now().Before(entry.Expires) {
			return fault.New(fault.Invalid, "invalid request ID")
		}
		if h, err = engine.Found[held](ctx, w, heldPath(requestID)); err != nil {
			return err
		}
		if refused, err = e.satisfy(ctx, w, h, proofs); err != nil || refused != nil {
			return err
		}
		return w.Delete(ctx, heldPath(requestID))
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	return e.o.Tokens.Create(ctx, h.Token)
}

// satisfy checks each enforcement. refused says which failed, and why.
func (e *Engine) satisfy(ctx context.Context, w barrier.Writer, h *held, proofs map[string][]string) (refused, err error) {
	if len(h.Needs) == 0 {
		return nil, fault.New(fault.Internal, "a held login needs nothing")
	}
	tried := trials{who: h.Entity, now: e.o.Space.Now(), proofs: proofs, done: map[string]error{}}
	var names []string
	for name := range h.Needs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		why, err := tried.any(ctx, w, h.Needs[name])
		if err != nil {
			return nil, err
		}
		if why != "" {
			return fault.New(fault.Denied, "failed to satisfy enforcement %s. error: %s", name, why), nil
		}
	}
	return nil, nil
}

// trials are the proofs of one request. One code may serve several enforcements, and
// is tried once.
type trials struct {
	who    string
	now    time.Time
	proofs map[string][]string
	done   map[string]error // by method; nil: it is proved
}

// any tries the methods one of which is needed. why says what failed; "": one is
// proved.
func (t *trials) any(ctx context.Context, w barrier.Writer, ids []string) (why string, err error) {
	var wrong, missing []string
	for _, id := range ids {
		m, err := engine.Found[method](ctx, w, methodPath(id))
		if err != nil {
			return "", err
		}
		if m == nil {
			missing = append(missing, "a method is gone")
			continue
		}
		codes, given := t.proofs[m.ID]
		if !given && m.Name != "" {
			codes, given = t.proofs[m.Name]
		}
		if !given {
			missing = append(missing, fmt.Sprintf("failed to find MFA credentials associated with an MFA method ID %s, method name %s", m.ID, m.Name))
			continue
		}
		refused, err := t.try(ctx, w, m, codes)
		if err != nil {
			return "", err
		}
		if refused == nil {
			return "", nil
		}
		wrong = append(wrong, fault.Public(refused))
	}
	if len(wrong) == 0 {
		return "failed to sanitize MFA creds, " + several(missing), nil
	}
	return several(append(wrong, fmt.Sprintf("login MFA validation failed for methodID: [%s]", strings.Join(ids, " ")))), nil
}

// several writes errors as clients of Vault know them.
func several(texts []string) string {
	word := "errors"
	if len(texts) == 1 {
		word = "error"
	}
	return fmt.Sprintf("%d %s occurred:\n\t* %s\n\n", len(texts), word, strings.Join(texts, "\n\t* "))
}

// try checks the proof of one method.
func (t *trials) try(ctx context.Context, w barrier.Writer, m *method, codes []string) (refused, err error) {
	if done, ok := t.done[m.ID]; ok {
		return done, nil
	}
	refused, err = t.check(ctx, w, m, codes)
	t.done[m.ID] = refused
	return refused, err
}

func (t *trials) check(ctx context.Context, w barrier.Writer, m *method, codes []string) (refused, err error) {
	switch {
	case m.Type != totpType || m.TOTP == nil:
		return fault.New(fault.Denied, "MFA methods of the type %s are not available on this server", m.Type), nil
	case len(codes) == 0:
		return fault.New(fault.Denied, "MFA credentials not supplied"), nil
	case len(codes) > 1:
		return fault.New(fault.Denied, "failed to parse MFA factor, found multiple passcodes for the same MFA method"), nil
	case len(codes[0]) > maxCode:
		return fault.New(fault.Denied, "failed to validate TOTP passcode"), nil
	}
	s, err := engine.Found[secret](ctx, w, secretPath(m.ID, t.who))
	if err != nil {
		return nil, err
	}
	if s == nil || t.who == "" || len(s.Key) == 0 {
		return fault.New(fault.Denied, "MFA secret for method name %q not present in entity %q", m.Name, t.who), nil
	}
	code := strings.TrimPrefix(strings.TrimSpace(codes[0]), "passcode=")
	refused = s.try(code, m.TOTP.Attempts, t.now)
	return refused, w.Put(ctx, barrier.Entry{Path: secretPath(m.ID, t.who), Value: engine.Stored(s)})
}
