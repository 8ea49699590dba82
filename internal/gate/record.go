// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// What the audit log holds of a request:
//
//   - a change leaves two records, "request" before the engine is reached and
//     "response" before the answer leaves, so that no effect is unrecorded. The
//     first goes to disk while the engine works, and is there before the answer
//     leaves; the second only where it names what was handed out;
//   - a read that changes nothing has no effect but its answer, so "response"
//     is enough (so with encrypting by a key that is there), and a request that never reached an engine leaves just that;
//   - health, seal status and the like, which answer anybody at any time,
//     decide nothing and leave none.
//
// Names stand in a record blinded or sealed only. While the barrier is sealed
// neither can be made; then a record says what was asked for without the path.

// purpose names the gate's keys.
const purpose = "audit"

// announce records a change before it happens: in the file at once, on disk
// while the engine works. conclude waits for that.
func (g *Gate) announce(ctx context.Context, w *walk) error {
	if err := g.findStill(ctx, w); err != nil || w.pure {
		return err
	}
	if g.o.Room != nil && !w.frees() {
		if err := g.o.Room(); err != nil {
			return err
		}
	}
	rec, err := g.complete(w, audit.Record{Kind: "request", Answer: "allow", Reason: w.decision.Reason})
	if err != nil {
		return err
	}
	w.onDisk, err = g.o.Audit.Begin(ctx, rec)
	return unwritten(err)
}

// frees reports whether a change may help on a full disk, or must be possible
// there: removing things, and what is done to the server itself.
func (w *walk) frees() bool {
	return w.op == policy.Delete || w.reads() || w.slot.Mount.Path == "sys/" || strings.HasPrefix(w.below, "revoke")
}

// findStill finds out whether a write changes nothing. What would be made by it if
// the thing were gone by then, the engine is not allowed to make.
func (g *Gate) findStill(ctx context.Context, w *walk) error {
	if w.op != policy.Update || !engine.MatchPath(w.slot.Special.Still, w.below) {
		return nil
	}
	exists, err := w.slot.Engine.Exists(ctx, w.below)
	if err == nil && exists {
		w.pure, w.creates = true, false
	}
	return sealedOr(err)
}

// conclude records how a request ended, before the answer leaves. That a change
// was asked for is on disk then, and so is what it handed out; a client that has
// hung up stops neither.
func (g *Gate) conclude(ctx context.Context, w *walk, err error) error {
	if w.onDisk != nil {
		if err := unwritten(w.onDisk()); err != nil {
			return err
		}
	}
	if err == nil && w.quiet {
		return nil
	}
	rec := audit.Record{Kind: "response", Answer: "allow", Reason: w.decision.Reason, Sync: w.handsOut()}
	switch {
	case fault.Is(err, fault.Denied):
		rec.Answer = "deny"
		if w.decision.Reason == "" || w.decision.Allowed {
			rec.Reason = fault.Denied.String()
		}
	case err != nil:
		rec.Answer, rec.Reason = "error", fault.KindOf(err).String()
	case w.answer != nil && (w.answer.Status == 401 || w.answer.Status == 403): // an engine's own form of a refusal
		rec.Answer, rec.Reason = "deny", fault.Denied.String()
	case w.answer != nil && w.answer.Status == 400:
		rec.Answer, rec.Reason = "error", fault.Invalid.String()
	}
	if rec, err = g.complete(w, rec); err != nil {
		return err
	}
	return unwritten(g.o.Audit.Append(context.WithoutCancel(ctx), rec))
}

// handsOut reports whether the answer gives something that can be taken back.
func (w *walk) handsOut() bool {
	return w.wrap != nil || w.answer != nil && (w.answer.Auth != nil || w.answer.Secret != nil)
}

// complete adds to a record what the walk knows.
func (g *Gate) complete(w *walk, rec audit.Record) (audit.Record, error) {
	rec.ID, rec.Op, rec.Remote = w.id, string(w.op), w.Remote
	if w.slot != nil {
		rec.Mount = w.in.path + w.slot.Mount.Path
	}
	if w.subject != nil {
		rec.Actor, rec.Name = w.subject.Accessor, w.subject.Display
	}
	if !g.o.Barrier.Sealed() {
		if err := g.hide(w, &rec); err != nil && !fault.Is(err, fault.Sealed) {
			return rec, fault.New(fault.Internal, "seal audit record: %w", err)
		}
	}
	return rec, nil
}

// unwritten is what callers get where the log failed. The cause is for the
// server's log, not for them.
func unwritten(err error) error {
	if err == nil {
		return nil
	}
	return &fault.Error{
		Kind: fault.Unavailable, Msg: "the audit log cannot be written, so nothing is answered", Err: err,
		Hint: "see the server's log, and its disk",
	}
}

// hide puts what could name a secret into the record: the path blinded, so that
// equal ones can be found equal, and the detail sealed.
func (g *Gate) hide(w *walk, rec *audit.Record) (err error) {
	if rec.Path, err = g.blind([]byte(w.full())); err != nil {
		return err
	}
	detail, err := g.detail(w, rec)
	if err != nil {
		return err
	}
	rec.Sealed, err = g.o.Barrier.SealBytes(purpose, detail, []byte(w.id))
	return err
}

func (g *Gate) blind(data []byte) (string, error) {
	mac, err := g.o.Barrier.MAC(purpose, data)
	if err != nil {
		return "", err
	}
	return "hmac-sha256:" + hex.EncodeToString(mac), nil
}

// detail is the full story of a request, as JSON: its path, which rule of which
// policies decided, which policies the caller held, the names of its fields with their values blinded, and what
// its answer handed out.
func (g *Gate) detail(w *walk, rec *audit.Record) (b []byte, err error) {
	b = make([]byte, 0, 256)
	b = engine.AppendText(append(b, `{"path":`...), w.full())
	if w.in.path != "" {
		b = engine.AppendText(append(b, `,"namespace":`...), w.in.path)
	}
	if w.home.path != "" {
		b = engine.AppendText(append(b, `,"token_namespace":`...), w.home.path)
	}
	if w.decision.Rule != "" {
		b = engine.AppendText(append(b, `,"rule":`...), w.decision.Rule)
		b = appendTexts(append(b, `,"policies":`...), w.decision.Policies)
	}
	if w.subject != nil {
		b = appendTexts(append(b, `,"held":`...), w.subject.Policies)
		if w.subject.Identity != nil {
			b = engine.AppendText(append(b, `,"entity":`...), w.subject.Identity.Entity.ID)
		}
	}
	if w.Basic != nil && w.slot != nil && w.slot.Fixed {
		b = engine.AppendText(append(b, `,"client":`...), w.Basic.Name)
	}
	if w.WrapTTL > 0 {
		b = strconv.AppendInt(append(b, `,"wrap_ttl":`...), int64(w.WrapTTL/time.Second), 10)
	}
	if len(w.Data) > 0 && (rec.Kind == "request" || w.pure || !w.served) {
		if b, err = g.appendFields(append(b, `,"fields":`...), w.Data); err != nil {
			return nil, err
		}
	}
	if rec.Kind == "response" {
		b = appendHanded(b, w)
	}
	return append(b, '}'), nil
}

func (g *Gate) appendFields(b []byte, fields map[string]json.RawMessage) ([]byte, error) {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(fields)) {
		blinded, err := g.blind(fields[name])
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(engine.AppendText(b, name), `:"`...), blinded...), '"')
	}
	return append(b, '}'), nil
}

// appendHanded names what an answer hands out, by accessor and lease id.
func appendHanded(b []byte, w *walk) []byte {
	if w.wrap != nil {
		b = engine.AppendText(append(b, `,"wrap_accessor":`...), w.wrap.Accessor)
	}
	if w.answer == nil {
		return b
	}
	if w.answer.Auth != nil {
		b = engine.AppendText(append(b, `,"auth_accessor":`...), w.answer.Auth.Accessor)
	}
	if w.answer.Secret != nil {
		b = engine.AppendText(append(b, `,"lease_id":`...), w.answer.Secret.LeaseID)
	}
	return b
}

// Event is a decision nobody asked for.
type Event struct {
	Name    string // what happened: "revoke", "evaluate", "expire"
	Subject string // whom it is about, such as an instance id; never a secret's name
	Answer  string // the outcome, from a fixed set of texts
	Reason  string // why, from a fixed set of texts
	Detail  any    // the rest, which is sealed; nil: nothing
}

// Record writes a background decision to the audit log, on disk when it
// returns. Where it fails, the decision must not take effect.
func (g *Gate) Record(ctx context.Context, e Event) error {
	rec := audit.Record{Kind: "event", ID: newID(), Op: e.Name, Actor: "system", Name: e.Subject, Answer: e.Answer, Reason: e.Reason, Sync: true}
	if e.Detail != nil && !g.o.Barrier.Sealed() {
		detail, err := json.Marshal(e.Detail)
		if err != nil {
			return fault.New(fault.Internal, "encode event: %w", err)
		}
		if rec.Sealed, err = g.o.Barrier.SealBytes(purpose, detail, []byte(rec.ID)); err != nil {
			return fault.New(fault.Internal, "seal event: %w", err)
		}
	}
	return unwritten(g.o.Audit.Append(ctx, rec))
}

// Open reads what a record keeps sealed, for those allowed to: the audit's
// readers pass them through the gate first.
func (g *Gate) Open(rec audit.Record) (json.RawMessage, error) {
	if len(rec.Sealed) == 0 {
		return nil, nil
	}
	return g.o.Barrier.OpenBytes(purpose, rec.Sealed, []byte(rec.ID))
}

// Blind gives a path or a value as it stands in the audit log, to search for it.
func (g *Gate) Blind(data []byte) (string, error) { return g.blind(data) }
