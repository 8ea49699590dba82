// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/notify"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

func (e *Engine) listTriage(ctx context.Context, c *call) (any, error) {
	if text := c.param("image"); text != "" {
		digest, err := image.ParseDigest(text)
		if err != nil {
			return nil, err
		}
		return listOf(e.o.Catalog.TriageOn(ctx, digest))
	}
	return listOf(e.o.Catalog.Triages(ctx))
}

func (e *Engine) putTriage(ctx context.Context, c *call) (any, error) {
	in, err := decode[client.Triage](c)
	if err != nil {
		return nil, err
	}
	author := whoIs(c.Subject)
	if in.Author != "" && in.Author != author || in.Imported != "" {
		return nil, fault.New(fault.Denied, "the author of a triage is who asks for it: %s", author).
			WithHint("leave the author out; decisions of others come with: goldkeep vex import")
	}
	kept, err := e.o.Catalog.PutTriage(ctx, verdict.Triage{
		Finding: in.Finding, Aliases: in.Aliases, Image: in.Image, Golden: in.Golden, Workload: in.Workload, Packages: in.Packages,
		Status: in.Status, Justification: in.Justification, Reason: in.Reason, Author: author, Expires: in.Expires,
	})
	if err != nil {
		return nil, err
	}
	return kept, e.triaged(ctx, kept)
}

// whoIs names whoever a token belongs to. Most tokens are called "token": then its
// accessor tells it from the others, and leads to it in the audit log.
func whoIs(subject *auth.Subject) string {
	switch {
	case subject == nil:
		return ""
	case subject.Display == "" || subject.Display == "token":
		return "token " + subject.Accessor
	}
	return subject.Display
}

func (e *Engine) deleteTriage(ctx context.Context, c *call) (any, error) {
	gone, err := e.o.Catalog.DeleteTriage(ctx, c.vars["id"])
	if err != nil {
		return nil, err
	}
	return nil, e.triaged(ctx, gone)
}

// triaged judges again what decisions concern.
func (e *Engine) triaged(ctx context.Context, all ...verdict.Triage) error {
	for _, t := range all {
		ids, err := e.o.Catalog.Concerned(ctx, t)
		if err != nil {
			return err
		}
		if err := e.o.Identity.Reconcile(notify.Because(ctx, "triage"), ids); err != nil {
			return err
		}
	}
	return nil
}
