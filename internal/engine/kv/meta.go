// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

const configAt = "config"

func loadConfig(ctx context.Context, r barrier.Reader) (config, error) {
	e, err := r.Get(ctx, configAt)
	if err != nil || e == nil {
		return config{}, err
	}
	var cfg config
	err = json.Unmarshal(e.Value, &cfg)
	return cfg, err
}

func (e *v2) readConfig(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	var cfg config
	err := e.space.View(ctx, func(r barrier.Reader) (err error) {
		cfg, err = loadConfig(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{
		"max_versions": cfg.MaxVersions, "cas_required": cfg.CASRequired, "delete_version_after": cfg.DeleteAfter.String(),
	}}, nil
}

func (e *v2) writeConfig(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	return nil, e.space.Update(ctx, func(w barrier.Writer) error {
		cfg, err := loadConfig(ctx, w)
		if err != nil {
			return err
		}
		if err := cfg.read(f); err != nil {
			return err
		}
		raw, err := json.Marshal(cfg)
		if err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: configAt, Value: raw})
	})
}

// settings are the fields that a mount's config and a key's metadata share.
type settings struct {
	MaxVersions int           `json:"max_versions"`
	CASRequired bool          `json:"cas_required"`
	DeleteAfter time.Duration `json:"delete_after"`
}

// maxMaxVersions bounds the size of a record.
const maxMaxVersions = 10000

// read takes the fields that were sent and leaves the others.
func (s *settings) read(f *engine.Fields) error {
	s.MaxVersions = f.Int("max_versions", s.MaxVersions)
	s.CASRequired = f.Bool("cas_required", s.CASRequired)
	if f.Has("delete_version_after") {
		// "-1s" is how clients switch it off.
		if text := f.Text("delete_version_after"); len(text) > 0 && text[0] == '-' {
			s.DeleteAfter = 0
		} else {
			s.DeleteAfter = f.Duration("delete_version_after")
		}
	}
	if f.Err() == nil && (s.MaxVersions < 0 || s.MaxVersions > maxMaxVersions) {
		return fault.New(fault.Invalid, "max_versions must be from 0 to %d", maxMaxVersions)
	}
	return f.Err()
}

func (e *v2) readMeta(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	var rec *record
	err := e.space.View(ctx, func(r barrier.Reader) (err error) {
		rec, err = load(ctx, r, v["key"])
		return err
	})
	if err != nil || rec == nil {
		return nil, err
	}
	b := []byte(`{"cas_required":`)
	b = strconv.AppendBool(b, rec.CASRequired)
	b = append(b, `,"created_time":`...)
	b = appendTime(b, rec.created)
	b = append(b, `,"current_version":`...)
	b = strconv.AppendInt(b, int64(rec.current), 10)
	b = append(b, `,"custom_metadata":`...)
	b = appendCustom(b, rec.custom)
	b = append(append(b, `,"delete_version_after":"`...), rec.DeleteAfter.String()...)
	b = append(b, `","max_versions":`...)
	b = strconv.AppendInt(b, int64(rec.MaxVersions), 10)
	b = append(b, `,"oldest_version":`...)
	b = strconv.AppendInt(b, int64(rec.oldest()), 10)
	b = append(b, `,"updated_time":`...)
	b = appendTime(b, rec.updated)
	b = append(b, `,"versions":{`...)
	for i := range rec.versions {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendVersion(b, &rec.versions[i])
	}
	return &engine.Response{Data: json.RawMessage(append(b, "}}"...))}, nil
}

func appendVersion(b []byte, v *version) []byte {
	b = append(b, '"')
	b = strconv.AppendInt(b, int64(v.n), 10)
	b = append(b, `":{"created_time":`...)
	b = appendTime(b, v.created)
	b = append(b, `,"deletion_time":`...)
	b = appendTime(b, v.deleted)
	b = append(b, `,"destroyed":`...)
	b = strconv.AppendBool(b, v.destroyed)
	return append(b, '}')
}

func (e *v2) writeMeta(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	custom := f.Map("custom_metadata")
	return nil, e.change(ctx, v["key"], func(_ barrier.Writer, rec *record) (*record, error) {
		if rec == nil {
			rec = newRecord(req.Now)
		}
		if f.Has("custom_metadata") {
			rec.custom = custom
		}
		return rec, rec.tune(f, req.Now)
	})
}

func (e *v2) patchMeta(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	changes := map[string]json.RawMessage{}
	if f.Has("custom_metadata") && json.Unmarshal(f.Raw("custom_metadata"), &changes) != nil {
		return nil, fault.New(fault.Invalid, "custom_metadata must be an object with texts")
	}
	values := engine.Read(&engine.Request{Data: changes})
	return nil, e.change(ctx, v["key"], func(_ barrier.Writer, rec *record) (*record, error) {
		if rec == nil {
			return nil, fault.New(fault.NotFound, "there is no such key")
		}
		for name := range changes {
			if !values.Has(name) {
				delete(rec.custom, name)
				continue
			}
			if rec.custom == nil {
				rec.custom = map[string]string{}
			}
			rec.custom[name] = values.Text(name)
		}
		if values.Err() != nil {
			return nil, values.Err()
		}
		return rec, rec.tune(f, req.Now)
	})
}

// tune takes a key's own settings from a request.
func (r *record) tune(f *engine.Fields, now time.Time) error {
	if err := r.read(f); err != nil {
		return err
	}
	r.updated = now
	return checkCustom(r.custom)
}

// The limits of custom metadata.
const (
	maxCustom      = 64
	maxCustomKey   = 128
	maxCustomValue = 512
)

func checkCustom(custom map[string]string) error {
	if len(custom) > maxCustom {
		return fault.New(fault.Invalid, "custom_metadata has over %d keys", maxCustom)
	}
	for k, v := range custom {
		if k == "" || len(k) > maxCustomKey || len(v) > maxCustomValue {
			return fault.New(fault.Invalid, "custom_metadata: keys are 1 to %d bytes long, values up to %d", maxCustomKey, maxCustomValue)
		}
	}
	return nil
}
