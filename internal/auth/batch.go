// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// BatchPrefix starts every batch token. Such a token is not kept: it is its own
// record, sealed by a key of the barrier. So it costs no write, and can be neither
// renewed nor revoked; it ends when its time is up, or with its parent, its entity
// or the auth mount it came from.
const BatchPrefix = "gkb."

// maxBatch is the longest batch token, in bytes: it has to fit a header.
const maxBatch = 8 << 10

const batchPurpose = "batch-token"

func isBatch(token string) bool { return strings.HasPrefix(token, BatchPrefix) }

// The types of tokens.
const (
	typeService = "service"
	typeBatch   = "batch"
)

func errBatch(what string) error { return fault.New(fault.Invalid, "batch tokens cannot be %s", what) }

// checkBatch refuses what only a token that is kept can have.
func (n *NewToken) checkBatch() error {
	switch {
	case n.Type != typeBatch:
		return nil
	case n.ID != "":
		return fault.New(fault.Invalid, "batch tokens cannot have a chosen id")
	case n.NumUses > 0:
		return fault.New(fault.Invalid, "batch tokens cannot have \"num_uses\" set")
	case n.Period > 0:
		return fault.New(fault.Invalid, "batch tokens cannot have \"period\" set")
	case n.ExplicitMax > 0:
		return fault.New(fault.Invalid, "batch tokens cannot have \"explicit_max_ttl\" set")
	}
	return nil
}

// sealBatch makes the token of a record.
func (t *Tokens) sealBatch(rec *record) (string, error) {
	if rec.root() {
		return "", errBatch("root tokens")
	}
	rec.Type, rec.Renewable = typeBatch, false
	value, err := json.Marshal(rec)
	if err != nil {
		return "", err
	}
	sealed, err := t.o.Keys.SealBytes(batchPurpose, value, t.bound())
	if err != nil {
		return "", err
	}
	token := BatchPrefix + base64.RawURLEncoding.EncodeToString(sealed) + t.suffix()
	if len(token) > maxBatch {
		return "", fault.New(fault.TooLarge, "the batch token would be longer than %d bytes", maxBatch).
			WithHint("give it fewer policies or less metadata, or ask for type \"service\"")
	}
	return token, nil
}

// openBatch reads the record in a batch token that is accepted now.
func (t *Tokens) openBatch(ctx context.Context, token string) (*record, error) {
	if len(token) > maxBatch || !t.ours(token) {
		return nil, errBadToken()
	}
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimSuffix(token[len(BatchPrefix):], t.suffix()))
	if err != nil {
		return nil, errBadToken()
	}
	value, err := t.o.Keys.OpenBytes(batchPurpose, sealed, t.bound())
	if fault.Is(err, fault.Sealed) {
		return nil, err
	}
	rec := &record{}
	if err != nil || json.Unmarshal(value, rec) != nil {
		return nil, errBadToken()
	}
	err = t.o.Space.View(ctx, func(r barrier.Reader) error {
		ok, err := batchAccepted(ctx, r, rec, t.o.Space.Now())
		if err == nil && !ok {
			err = errBadToken()
		}
		return err
	})
	return rec, err
}

// batchAccepted is accepted for a token that no revocation can find: what it hangs
// on is looked at instead.
func batchAccepted(ctx context.Context, r barrier.Reader, rec *record, now time.Time) (bool, error) {
	if rec.Parent != "" {
		parent, err := load(ctx, r, rec.Parent)
		if err != nil || parent == nil || parent.Closing {
			return false, err
		}
	}
	if rec.Origin != "" {
		ended, err := r.Get(ctx, endedPath(rec.Origin))
		if err != nil || ended != nil {
			return false, err
		}
	}
	return accepted(ctx, r, rec, now)
}

// batchSubject is who holds a batch token.
func (t *Tokens) batchSubject(ctx context.Context, token string) (*Subject, error) {
	rec, err := t.openBatch(ctx, token)
	if err != nil {
		return nil, err
	}
	who, err := t.behind(ctx, rec)
	if err != nil {
		return nil, err
	}
	s := rec.subject(who)
	s.Batch, s.Owner = true, ""
	if rec.Parent == "" {
		return s, nil
	}
	err = t.o.Space.View(ctx, func(r barrier.Reader) error {
		parent, err := load(ctx, r, rec.Parent)
		if err == nil && parent != nil {
			s.Owner = parent.Accessor
		}
		return err
	})
	return s, err
}

// batchInfo looks a batch token up.
func (t *Tokens) batchInfo(ctx context.Context, token string) (*Info, error) {
	rec, err := t.openBatch(ctx, token)
	if err != nil {
		return nil, err
	}
	if lives, err := t.patronLives(ctx, rec); err != nil || !lives {
		return nil, cmp.Or(err, errBadToken())
	}
	info := rec.info(t.o.Space.Now())
	info.Type, info.Accessor = typeBatch, "" // no accessor leads to it
	info.Identity, err = t.identity(ctx, info.EntityID)
	return info, err
}
