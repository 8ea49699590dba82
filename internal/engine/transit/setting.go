// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// settings are what holds for all keys of a mount.
type settings struct {
	DisableUpsert bool `json:"disableUpsert,omitempty"`
	CacheSize     int  `json:"cacheSize,omitempty"` // shown again; the barrier caches
}

const settingsEntry = "settings"

func settingRoutes(e *Engine) []engine.Route {
	return append([]engine.Route{
		{Path: "config/keys", Ops: engine.Ops{Read: e.showKeyConfig, Write: e.putKeyConfig}, Help: "What holds for all keys of the mount.", Takes: "disable_upsert:boolean"},
		{Path: "cache-config", Ops: engine.Ops{Read: e.showCache, Write: e.putCache}, Help: "The size of a cache that is not needed here.", Takes: "size:integer"},
	}, engine.Tools("")...)
}

func (e *Engine) settings(ctx context.Context) (settings, error) {
	var s settings
	err := e.space.View(ctx, func(r barrier.Reader) (err error) {
		s, err = loadSettings(ctx, r)
		return err
	})
	return s, err
}

func loadSettings(ctx context.Context, r barrier.Reader) (settings, error) {
	var s settings
	found, err := r.Get(ctx, settingsEntry)
	if err != nil || found == nil {
		return s, err
	}
	if err := json.Unmarshal(found.Value, &s); err != nil {
		return s, fmt.Errorf("decode settings: %w", err)
	}
	return s, nil
}

func (e *Engine) edited(ctx context.Context, edit func(*settings)) error {
	return e.space.Update(ctx, func(w barrier.Writer) error {
		s, err := loadSettings(ctx, w)
		if err != nil {
			return err
		}
		edit(&s)
		value, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("encode settings: %w", err)
		}
		return w.Put(ctx, barrier.Entry{Path: settingsEntry, Value: value})
	})
}

func (e *Engine) showKeyConfig(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	s, err := e.settings(ctx)
	return &engine.Response{Data: map[string]bool{"disable_upsert": s.DisableUpsert}}, err
}

func (e *Engine) putKeyConfig(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	off := f.Bool("disable_upsert", false)
	if f.Err() != nil {
		return nil, f.Err()
	}
	if err := e.edited(ctx, func(s *settings) { s.DisableUpsert = off }); err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]bool{"disable_upsert": off}}, nil
}

func (e *Engine) showCache(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	s, err := e.settings(ctx)
	return &engine.Response{Data: map[string]int{"size": s.CacheSize}}, err
}

func (e *Engine) putCache(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	size := f.Int("size", 0)
	if f.Err() == nil && (size < 0 || size > 0 && size < 10) {
		return nil, fault.New(fault.Invalid, "size must be 0 or a value greater or equal to 10")
	}
	if f.Err() != nil {
		return nil, f.Err()
	}
	if err := e.edited(ctx, func(s *settings) { s.CacheSize = size }); err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]int{"size": size}}, nil
}
