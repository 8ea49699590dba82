// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package realm

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
)

// batch is how much of one kind is looked at in one go.
const batch = 200

// Tend does once what is to be done. Several nodes may do so at once, and it may be cut
// short anywhere: each step starts from what is there.
func (h *House) Tend(ctx context.Context) error {
	all := map[string]*engine.Realm{}
	var errs []error
	err := h.Root.Walk(ctx, func(in *engine.Realm, m engine.Mount, r *engine.Realm) (bool, error) {
		closed, err := r.Closed(ctx)
		if err != nil {
			return false, err
		}
		if !closed && !m.Namespace.Going {
			all[r.UUID] = r
			return true, nil
		}
		errs = append(errs, h.clear(ctx, in, r))
		return false, nil
	})
	if err == nil {
		_, err = h.Root.Tokens.Tidy(ctx, batch)
	}
	if err == nil {
		_, err = h.Root.Wrapping.Sweep(ctx, batch)
	}
	return errors.Join(append(errs, err, h.sweep(ctx, all), h.mourn(ctx))...)
}

// sweep removes what has expired in namespaces.
func (h *House) sweep(ctx context.Context, all map[string]*engine.Realm) error {
	for part, tidy := range map[string]func(*engine.Realm) (int, error){
		"token":    func(r *engine.Realm) (int, error) { return r.Tokens.Tidy(ctx, batch) },
		"wrapping": func(r *engine.Realm) (int, error) { return r.Wrapping.Sweep(ctx, batch) },
	} {
		due, err := h.o.Space.Sub(nestedIn+part).Expired(ctx, h.o.Space.Now(), batch)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, e := range due {
			uuid, _, _ := strings.Cut(e.Path, "/")
			if r := all[uuid]; r != nil && !seen[uuid] {
				seen[uuid] = true
				if _, err := tidy(r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// clear removes a deleted namespace with all it has: first nobody reaches it any more,
// then what was handed out is taken back, then its data go, last its name. Requests that
// were under way when it was deleted may still write: mourn removes that.
func (h *House) clear(ctx context.Context, in, r *engine.Realm) error {
	if err := in.Taint(ctx, r); err != nil {
		return err
	}
	if err := h.empty(ctx, r.UUID, slices.Sorted(maps.Keys(r.Spaces)), r); err != nil {
		return err
	}
	gone := barrier.Entry{
		Path: r.UUID, Value: []byte(strings.Join(slices.Sorted(maps.Keys(r.Spaces)), " ")), Expires: h.o.Space.Now().Add(mournFor),
	}
	if err := h.gone().Update(ctx, func(w barrier.Writer) error { return w.Put(ctx, gone) }); err != nil {
		return err
	}
	return in.Mounts.DropNamespace(ctx, r.UUID)
}

// mournFor is how long a deleted namespace is remembered: longer than any request.
const mournFor = 10 * time.Minute

// gone remembers deleted namespaces, with the names of their spaces.
func (h *House) gone() barrier.Space { return h.o.Space.Sub("namespace-gone") }

// empty revokes all leases of a namespace and removes what is in its spaces; those of
// the mounts one by one, where it is known.
func (h *House) empty(ctx context.Context, uuid string, parts []string, r *engine.Realm) error {
	if err := h.o.Leases.Of(uuid).RevokePrefix(ctx, "", false); err != nil {
		return err
	}
	if r != nil {
		mounts, err := r.Mounts.List(ctx)
		if err != nil {
			return err
		}
		for _, m := range mounts {
			if slot, err := r.Mounts.Slot(ctx, m.Path); err != nil || slot == nil || slot.Fixed {
				continue
			}
			if err := r.Mounts.Remove(ctx, m.Path); err != nil {
				return err
			}
		}
	}
	for _, part := range parts {
		err := h.o.Space.Sub(nestedIn+part).Update(ctx, func(w barrier.Writer) error { return w.DeleteTree(ctx, uuid) })
		if err != nil {
			return err
		}
	}
	return nil
}

// mourn looks once more at namespaces that were deleted some time ago, and forgets them.
func (h *House) mourn(ctx context.Context) error {
	due, err := h.gone().Expired(ctx, h.o.Space.Now(), batch)
	if err != nil {
		return err
	}
	for _, e := range due {
		if err := h.empty(ctx, e.Path, strings.Fields(string(e.Value)), nil); err != nil {
			return err
		}
		if err := h.gone().Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, e.Path) }); err != nil {
			return err
		}
	}
	return nil
}
