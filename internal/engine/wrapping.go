// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Wrapping keeps answers for whoever brings the token made for each: once, and
// for a limited time. A wrapping token is no token of package auth: it opens
// its one answer and nothing else.
type Wrapping struct {
	space  barrier.Space
	suffix string // of the tokens: "." and the id of the namespace; "" in the root
}

// Wrap is what the receiver of a wrapped answer is told instead of it.
type Wrap struct {
	Token           string
	Accessor        string
	TTL             time.Duration
	Created         time.Time
	Path            string // of the request that was answered
	WrappedAccessor string // of the token inside, if there is one
}

// wrapped is an answer as it is kept.
type wrapped struct {
	Accessor        string          `json:"accessor"`
	TTL             time.Duration   `json:"ttl"`
	Created         time.Time       `json:"created"`
	Path            string          `json:"path"`
	WrappedAccessor string          `json:"wrapped_accessor,omitempty"`
	Answer          json.RawMessage `json:"answer"`
}

const wrappingPrefix = "gkw."

// IsWrappingToken reports whether a token has the form of one that opens a wrapped
// answer.
func IsWrappingToken(token string) bool { return strings.HasPrefix(token, wrappingPrefix) }

// NewWrapping keeps wrapped answers in a space.
func NewWrapping(space barrier.Space) *Wrapping { return &Wrapping{space: space} }

// NewWrappingOf is NewWrapping for the namespace of an id, in which its tokens end.
func NewWrappingOf(space barrier.Space, namespace string) *Wrapping {
	return &Wrapping{space: space, suffix: "." + namespace}
}

// Keep stores an answer; Path, TTL and WrappedAccessor of about are given by
// the caller, the rest is filled in.
func (w *Wrapping) Keep(ctx context.Context, answer json.RawMessage, about Wrap) (*Wrap, error) {
	about.Token = wrappingPrefix + randomText(24) + w.suffix
	about.Accessor = randomText(18)
	about.Created = w.space.Now()
	raw, err := json.Marshal(wrapped{
		Accessor: about.Accessor, TTL: about.TTL, Created: about.Created,
		Path: about.Path, WrappedAccessor: about.WrappedAccessor, Answer: answer,
	})
	if err != nil {
		return nil, err
	}
	entry := barrier.Entry{Path: wrappedAt(about.Token), Value: raw, Expires: about.Created.Add(about.TTL)}
	err = w.space.Update(ctx, func(tx barrier.Writer) error { return tx.Put(ctx, entry) })
	return &about, err
}

// Take returns a token's answer and spends the token: of any number of callers
// at once, one gets it. Spent, expired and foreign tokens are fault.Invalid.
func (w *Wrapping) Take(ctx context.Context, token string) (json.RawMessage, error) {
	kept, err := w.take(ctx, token)
	if err != nil {
		return nil, err
	}
	return kept.Answer, nil
}

// Rewrap spends a token and keeps its answer under a new one.
func (w *Wrapping) Rewrap(ctx context.Context, token string) (*Wrap, error) {
	kept, err := w.take(ctx, token)
	if err != nil {
		return nil, err
	}
	return w.Keep(ctx, kept.Answer, Wrap{TTL: kept.TTL, Path: kept.Path, WrappedAccessor: kept.WrappedAccessor})
}

func (w *Wrapping) take(ctx context.Context, token string) (*wrapped, error) {
	var kept *wrapped
	err := w.space.Update(ctx, func(tx barrier.Writer) (err error) {
		if kept, err = w.get(ctx, tx, token); err != nil {
			return err
		}
		return tx.Delete(ctx, wrappedAt(token))
	})
	return kept, err
}

// Lookup tells about a token without spending it.
func (w *Wrapping) Lookup(ctx context.Context, token string) (*Wrap, error) {
	var kept *wrapped
	err := w.space.View(ctx, func(tx barrier.Reader) (err error) {
		kept, err = w.get(ctx, tx, token)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Wrap{TTL: kept.TTL, Created: kept.Created, Path: kept.Path}, nil
}

// Discard spends a token without giving its answer to anyone.
func (w *Wrapping) Discard(ctx context.Context, token string) error {
	return w.space.Update(ctx, func(tx barrier.Writer) error { return tx.Delete(ctx, wrappedAt(token)) })
}

// Sweep removes up to limit answers whose time has passed and returns how many.
func (w *Wrapping) Sweep(ctx context.Context, limit int) (int, error) {
	old, err := w.space.Expired(ctx, w.space.Now(), limit)
	if err != nil || len(old) == 0 {
		return 0, err
	}
	return len(old), w.space.Update(ctx, func(tx barrier.Writer) error {
		for _, e := range old {
			if err := tx.Delete(ctx, e.Path); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *Wrapping) get(ctx context.Context, tx barrier.Reader, token string) (*wrapped, error) {
	e, err := tx.Get(ctx, wrappedAt(token))
	if err != nil {
		return nil, err
	}
	if e == nil || !w.space.Now().Before(e.Expires) {
		return nil, fault.New(fault.Invalid, "wrapping token is not valid or does not exist")
	}
	var kept wrapped
	err = json.Unmarshal(e.Value, &kept)
	return &kept, err
}

// wrappedAt is where a token's answer is kept: by its hash, so that who reads
// the entry's name cannot use it.
func wrappedAt(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "t/" + hex.EncodeToString(sum[:])
}

func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}
