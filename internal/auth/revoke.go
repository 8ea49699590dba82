// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/store"
)

// batch is how many tokens one transaction clears away.
const batch = 200

// What is left to do for the children of a revoked token, kept under work/.
const (
	workTree   = "tree"   // they end too
	workOrphan = "orphan" // they live on without a parent
)

// Revoke ends a token and all that descend from it. When it has returned no
// node accepts any of them. A token that is not there is revoked already.
func (t *Tokens) Revoke(ctx context.Context, token string) error {
	if isBatch(token) {
		return errBatch("revoked")
	}
	key, err := t.keyOf(token)
	if err != nil {
		return err
	}
	return t.revokeKey(ctx, key)
}

// RevokeAccessor is Revoke by accessor; fault.Invalid where there is no such
// token.
func (t *Tokens) RevokeAccessor(ctx context.Context, accessor string) error {
	var rec *record
	err := t.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		rec, err = loadAccessor(ctx, r, accessor)
		return err
	})
	if err != nil {
		return err
	}
	if rec == nil {
		return errBadAccessor()
	}
	return t.revokeKey(ctx, rec.key)
}

// RevokeOrphan ends a token, and only it: its children become orphans.
func (t *Tokens) RevokeOrphan(ctx context.Context, token string) error {
	if isBatch(token) {
		return errBatch("revoked")
	}
	key, err := t.keyOf(token)
	if err != nil {
		return err
	}
	err = t.o.Store.Update(ctx, func(tx store.Tx) error {
		w := t.o.Space.In(tx)
		rec, err := load(ctx, w, key)
		if err != nil || rec == nil {
			return err
		}
		if err := t.end(ctx, tx, w, rec); err != nil {
			return err
		}
		// The record stays, closing, until the last child no longer names it: a
		// child whose parent's record is gone is not accepted. It leaves its own
		// parent, whose end must not reach the children any more.
		rec.Closing, rec.Proof, rec.Parent = true, nil, ""
		if err := save(ctx, w, rec); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: workPath(key), Value: []byte(workOrphan)})
	})
	if err != nil {
		return err
	}
	return t.drain(ctx)
}

// RevokeInstance ends all tokens of a workload instance and returns how many
// there were, not counting their descendants.
func (t *Tokens) RevokeInstance(ctx context.Context, instanceID string) (int, error) {
	var keys []string
	err := t.o.Space.View(ctx, func(r barrier.Reader) error {
		keys = nil
		names, err := r.List(ctx, instanceDir(instanceID))
		if err != nil {
			return err
		}
		for _, name := range names {
			e, err := r.Get(ctx, instanceDir(instanceID)+"/"+name)
			if err != nil {
				return err
			}
			if e != nil {
				keys = append(keys, string(e.Value))
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i, key := range keys {
		if err := t.revokeKey(ctx, key); err != nil {
			return i, err
		}
	}
	return len(keys), nil
}

// RevokeOrigin ends all tokens that came from an auth mount, with their
// descendants, and returns how many they were, not counting these. It goes token
// by token; cut short, it is simply called again.
func (t *Tokens) RevokeOrigin(ctx context.Context, uuid string) (int, error) {
	// Batch tokens cannot be found: they look for this note.
	err := t.o.Space.Update(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: endedPath(uuid), Value: []byte("1")})
	})
	if err != nil {
		return 0, err
	}
	var entries []barrier.Entry
	err = t.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		entries, err = r.InGroup(ctx, originOf(uuid))
		return err
	})
	if err != nil {
		return 0, err
	}
	for i, e := range entries {
		if err := t.revokeKey(ctx, strings.TrimPrefix(e.Path, recordPath(""))); err != nil {
			return i, err
		}
	}
	return len(entries), nil
}

// EndInstance ends all tokens of a workload instance as part of a transaction: when
// that is durable, no node accepts them. Descendants that are left are cleared away
// by the next Tidy; they are not accepted either.
func (t *Tokens) EndInstance(ctx context.Context, tx store.Tx, instanceID string) error {
	w := t.o.Space.In(tx)
	names, err := w.List(ctx, instanceDir(instanceID))
	if err != nil {
		return err
	}
	for _, name := range names {
		e, err := w.Get(ctx, instanceDir(instanceID)+"/"+name)
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		rec, err := load(ctx, w, string(e.Value))
		if err != nil {
			return err
		}
		if rec == nil {
			continue
		}
		if _, err := t.remove(ctx, tx, w, rec); err != nil {
			return err
		}
	}
	return nil
}

// revokeKey ends one token in one transaction, from which moment none of its
// descendants is accepted, and then clears those away.
func (t *Tokens) revokeKey(ctx context.Context, key string) error {
	more := false
	err := t.o.Store.Update(ctx, func(tx store.Tx) error {
		w := t.o.Space.In(tx)
		rec, err := load(ctx, w, key)
		if err != nil || rec == nil {
			return err
		}
		more, err = t.remove(ctx, tx, w, rec)
		return err
	})
	if err != nil || !more {
		return err
	}
	return t.drain(ctx)
}

// remove deletes a token; where it has children, it notes that they are to go
// too, and says so.
func (t *Tokens) remove(ctx context.Context, tx store.Tx, w barrier.Writer, rec *record) (more bool, err error) {
	if err := t.end(ctx, tx, w, rec); err != nil {
		return false, err
	}
	if err := w.Delete(ctx, recordPath(rec.key)); err != nil {
		return false, err
	}
	children, err := w.InGroup(ctx, childrenOf(rec.key))
	if err != nil || len(children) == 0 {
		return false, err
	}
	return true, w.Put(ctx, barrier.Entry{Path: workPath(rec.key), Value: []byte(workTree)})
}

// end removes everything of a token but its record.
func (t *Tokens) end(ctx context.Context, tx store.Tx, w barrier.Writer, rec *record) error {
	for _, fn := range t.o.OnRevoke {
		if err := fn(ctx, tx, rec.Accessor); err != nil {
			return err
		}
	}
	if rec.Instance != "" {
		if err := w.Delete(ctx, instancePath(rec)); err != nil {
			return err
		}
	}
	if rec.Proof != nil {
		if _, err := tx.Exec(ctx, `DELETE FROM token_proof WHERE hash = ?`, rec.Proof); err != nil {
			return err
		}
	}
	return w.Delete(ctx, accessorPath(rec.Accessor))
}

// drain does the noted work until there is none. Several nodes may do so at
// once: each step is one serializable transaction that starts from what is there.
func (t *Tokens) drain(ctx context.Context) error {
	for {
		var work []string
		err := t.o.Space.View(ctx, func(r barrier.Reader) (err error) {
			work, err = r.List(ctx, "work")
			return err
		})
		if err != nil || len(work) == 0 {
			return err
		}
		for _, key := range work {
			if err := t.clearChildren(ctx, key); err != nil {
				return err
			}
		}
	}
}

// clearChildren does the work noted for one former parent, in batches. The
// children are listed once and not for each batch, because a listing reads all.
func (t *Tokens) clearChildren(ctx context.Context, key string) error {
	for {
		var keys []string
		err := t.o.Space.View(ctx, func(r barrier.Reader) (err error) {
			keys, err = childKeys(ctx, r, key)
			return err
		})
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return t.finish(ctx, key)
		}
		for len(keys) > 0 {
			n := min(batch, len(keys))
			if err := t.clearBatch(ctx, key, keys[:n]); err != nil {
				return err
			}
			keys = keys[n:]
		}
	}
}

func childKeys(ctx context.Context, r barrier.Reader, key string) ([]string, error) {
	children, err := r.InGroup(ctx, childrenOf(key))
	var keys []string
	for _, e := range children {
		keys = append(keys, strings.TrimPrefix(e.Path, "id/"))
	}
	return keys, err
}

func (t *Tokens) clearBatch(ctx context.Context, parent string, keys []string) error {
	return t.o.Store.Update(ctx, func(tx store.Tx) error {
		w := t.o.Space.In(tx)
		e, err := w.Get(ctx, workPath(parent))
		if err != nil || e == nil {
			return err
		}
		for _, key := range keys {
			rec, err := load(ctx, w, key)
			if err != nil {
				return err
			}
			if rec == nil || rec.Parent != parent {
				continue
			}
			if string(e.Value) == workOrphan {
				rec.Parent, rec.Depth = "", 0
				err = save(ctx, w, rec)
			} else {
				_, err = t.remove(ctx, tx, w, rec)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// finish strikes a piece of work off once no child is left.
func (t *Tokens) finish(ctx context.Context, key string) error {
	return t.o.Store.Update(ctx, func(tx store.Tx) error {
		w := t.o.Space.In(tx)
		left, err := childKeys(ctx, w, key)
		if err != nil || len(left) > 0 {
			return err
		}
		if err := w.Delete(ctx, recordPath(key)); err != nil {
			return err
		}
		return w.Delete(ctx, workPath(key))
	})
}

// Tidy finishes revocations that a crash has cut short and removes up to limit
// expired tokens, each with its descendants. It returns how many it removed. No
// answer depends on it: expiry is judged at use.
func (t *Tokens) Tidy(ctx context.Context, limit int) (int, error) {
	if err := t.drain(ctx); err != nil {
		return 0, err
	}
	expired, err := t.o.Space.Expired(ctx, t.o.Space.Now(), limit)
	if err != nil {
		return 0, err
	}
	for i, e := range expired {
		key, isRecord := strings.CutPrefix(e.Path, "id/")
		if !isRecord {
			continue
		}
		if err := t.removeExpired(ctx, key); err != nil {
			return i, err
		}
	}
	if err := t.tidyProofs(ctx); err != nil {
		return len(expired), err
	}
	return len(expired), t.drain(ctx)
}

// removeExpired looks again inside the transaction: the token may have been
// renewed since it was found.
func (t *Tokens) removeExpired(ctx context.Context, key string) error {
	return t.o.Store.Update(ctx, func(tx store.Tx) error {
		w := t.o.Space.In(tx)
		rec, err := load(ctx, w, key)
		if err != nil || rec == nil || rec.Closing || rec.Expires.IsZero() || t.o.Space.Now().Before(rec.Expires) {
			return err
		}
		_, err = t.remove(ctx, tx, w, rec)
		return err
	})
}

func (t *Tokens) tidyProofs(ctx context.Context) error {
	return t.o.Store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM token_proof WHERE expires > 0 AND expires < ?`, store.Millis(t.o.Store.Now()))
		return err
	})
}
