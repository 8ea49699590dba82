// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"io"

	"github.com/goldkeep/goldkeep/internal/engine"
)

// Snapshots copies all the server holds, and brings a copy back.
type Snapshots interface {
	// Save makes a snapshot; the caller closes it.
	Save(ctx context.Context) (io.ReadCloser, error)
	// Restore verifies a snapshot and puts it in the place of everything, or
	// changes nothing. force takes one that this server's keys did not make. The
	// server starts anew afterwards.
	Restore(ctx context.Context, from io.Reader, force bool) error
}

func (e *Engine) snapshotRoutes() []engine.Route {
	return []engine.Route{
		{Path: "storage/raft/snapshot", Ops: engine.Ops{Read: e.saveSnapshot, Write: e.restoreSnapshot(false)}},
		{Path: "storage/raft/snapshot-force", Ops: engine.Ops{Write: e.restoreSnapshot(true)}},
	}
}

func (e *Engine) saveSnapshot(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	made, err := e.o.Snapshots.Save(ctx)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Stream: made, Header: map[string]string{
		"Content-Type": "application/gzip", "Content-Disposition": `attachment; filename="goldkeep.snapshot"`,
	}}, nil
}

func (e *Engine) restoreSnapshot(force bool) engine.Handler {
	return func(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
		return nil, e.o.Snapshots.Restore(ctx, req.Body, force)
	}
}
