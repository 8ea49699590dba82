// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"context"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (e *Engine) rotateRoutes() []engine.Route {
	const settings = "enabled:boolean interval:duration max_operations:integer"
	config := engine.Ops{Read: e.readRotation, Write: e.writeRotation}
	return []engine.Route{
		{Path: "key-status", Help: "The key that seals what is written now.", Ops: engine.Ops{Read: e.keyStatus}},
		{Path: "rotate", Help: "Makes a new key to seal with; the old ones go on opening.", Ops: engine.Ops{Write: e.rotate}},
		{Path: "rotate/keyring", Help: "Makes a new key to seal with; the old ones go on opening.", Ops: engine.Ops{Write: e.rotate}},
		{Path: "rotate/config", Help: "When keys are rotated without being asked.", Takes: settings, Ops: config},
		{Path: "rotate/keyring/config", Help: "When keys are rotated without being asked.", Takes: settings, Ops: config},
	}
}

func (e *Engine) keyStatus(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	s, err := e.o.Keys.KeyStatus()
	if err != nil {
		return nil, err
	}
	return &engine.Response{Flat: true, Data: map[string]any{
		"term": s.Term, "install_time": s.Installed.UTC().Format(time.RFC3339Nano), "encryptions": s.Sealed,
	}}, nil
}

func (e *Engine) rotate(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return nil, e.o.Keys.Rotate(ctx)
}

// rotation says when keys are rotated without being asked.
type rotation struct {
	Off           bool          `json:"off,omitempty"`
	Interval      time.Duration `json:"interval,omitempty"` // 0: never
	MaxOperations int           `json:"max_operations,omitempty"`
}

// The limits of a rotation by count; NIST SP 800-38D allows 2^32 texts for a key.
const (
	rotationAt      = "rotation"
	maxOperations   = 3_865_470_566
	minOperations   = 1_000_000
	minAutoRotation = 24 * time.Hour
)

// rotation is what is kept; its zero value where nothing is.
func (e *Engine) rotation(ctx context.Context) (rotation, error) {
	r, err := engine.Look[rotation](ctx, e.o.Space, rotationAt)
	if err != nil || r == nil {
		return rotation{}, err
	}
	return *r, nil
}

func (e *Engine) readRotation(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	r, err := e.rotation(ctx)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{
		"enabled": !r.Off, "interval": int64(r.Interval / time.Second), "max_operations": r.limit(),
	}}, nil
}

func (r rotation) limit() int {
	if r.MaxOperations == 0 {
		return maxOperations
	}
	return r.MaxOperations
}

func (e *Engine) writeRotation(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	r, err := e.rotation(ctx)
	if err != nil {
		return nil, err
	}
	r.Off = !f.Bool("enabled", !r.Off)
	r.MaxOperations = f.Int("max_operations", r.limit())
	if f.Has("interval") {
		r.Interval = f.Duration("interval")
	}
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case r.MaxOperations < minOperations || r.MaxOperations > maxOperations:
		return nil, fault.New(fault.Invalid, "max_operations must be from %d to %d", minOperations, maxOperations)
	case r.Interval != 0 && r.Interval < minAutoRotation:
		return nil, fault.New(fault.Invalid, "interval must be 0 or at least %s", minAutoRotation)
	}
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: rotationAt, Value: engine.Stored(r)})
	})
}

// RotateIfDue rotates where rotate/config says that it is time. For the server's
// loop; while sealed it does nothing.
func (e *Engine) RotateIfDue(ctx context.Context) error {
	if e.o.Barrier.Sealed() {
		return nil
	}
	r, err := e.rotation(ctx)
	if err != nil || r.Off {
		return err
	}
	s, err := e.o.Keys.KeyStatus()
	if err != nil {
		return err
	}
	old := r.Interval > 0 && !e.o.Space.Now().Before(s.Installed.Add(r.Interval))
	if old || s.Sealed >= uint64(r.limit()) {
		return e.o.Keys.Rotate(ctx)
	}
	return nil
}
