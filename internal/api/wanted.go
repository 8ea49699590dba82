// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"strings"

	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

// An image nobody has brought yet is denied, and fetched where the question says
// from where: the answer changes once it is scanned.

// maxWanted bounds the images waiting to be fetched; what is over is asked for
// again by whoever asks again.
const maxWanted = 200

type askRequest struct {
	Reference string `json:"reference"` // NAME@DIGEST in a registry
}

// judge answers for an image that is known, and denies one that is not.
func (e *Engine) judge(ctx context.Context, c *call) (any, error) {
	return e.answer(ctx, c, "")
}

// ask is judge, and has an image that is not known fetched in the background.
func (e *Engine) ask(ctx context.Context, c *call) (any, error) {
	_, reference, err := c.reference()
	if err != nil {
		return nil, err
	}
	return e.answer(ctx, c, reference)
}

// reference is the digest of the path, and the registry's name for it in the body.
func (c *call) reference() (digest image.Digest, name string, err error) {
	in, err := decode[askRequest](c)
	if err != nil {
		return "", "", err
	}
	if digest, err = c.digest(); err != nil {
		return "", "", err
	}
	if !strings.HasSuffix(in.Reference, "@"+string(digest)) {
		return "", "", fault.New(fault.Invalid, "the reference must end in @%s: a tag may be moved to another image meanwhile", digest)
	}
	return digest, in.Reference, nil
}

func (e *Engine) answer(ctx context.Context, c *call, reference string) (any, error) {
	digest, err := c.digest()
	if err != nil {
		return nil, err
	}
	env, err := e.o.Catalog.Environment(ctx, c.vars["name"])
	if err != nil {
		return nil, err
	}
	img, err := e.o.Catalog.Find(ctx, digest)
	if fault.Is(err, fault.NotFound) {
		img, err = &catalog.Image{ID: digest, State: catalog.Wanted}, nil
	}
	if err != nil {
		return nil, err
	}
	if img.Evidence == nil && reference != "" {
		select {
		case e.wanted <- reference:
		default: // many are waiting: whoever asks again is heard again
		}
	}
	return e.o.Catalog.Judge(ctx, img, *env, c.Now)
}

// Run fetches and scans what was asked for, one image at a time, until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case reference := <-e.wanted:
			if err := e.fetch(ctx, reference); err != nil && ctx.Err() == nil {
				e.o.Log.Warn("fetch an image that was asked for", "reference", reference, "error", err)
			}
		}
	}
}

// fetch brings one image, unless it was asked for twice and is here.
func (e *Engine) fetch(ctx context.Context, reference string) error {
	_, digest, _ := strings.Cut(reference, "@")
	if img, err := e.o.Catalog.Find(ctx, image.Digest(digest)); err == nil && img.Evidence != nil {
		return nil
	}
	_, err := e.pull(ctx, reference)
	return err
}
