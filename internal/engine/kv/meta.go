// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
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
		"metadata_cas_required": cfg.MetaCASRequired,
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

	MetaCASRequired bool `json:"metadata_cas_required,omitempty"`
}

// maxMaxVersions bounds the size of a record.
const maxMaxVersions = 10000

// read takes the fields that were sent and leaves the others.
func (s *settings) read(f *engine.Fields) error {
	s.MaxVersions = f.Int("max_versions", s.MaxVersions)
	s.CASRequired = f.Bool("cas_required", s.CASRequired)
	s.MetaCASRequired = f.Bool("metadata_cas_required", s.MetaCASRequired)
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
		rec, err = load(ctx, r, v["path"])
		return err
	})
	if err != nil || rec == nil {
		return nil, err
	}
	return &engine.Response{Data: json.RawMessage(rec.appendMeta(nil))}, nil
}

// appendMeta writes all that is told about a key.
func (rec *record) appendMeta(b []byte) []byte {
	b = append(b, `{"cas_required":`...)
	b = strconv.AppendBool(b, rec.CASRequired)
	b = append(b, `,"created_time":`...)
	b = appendTime(b, rec.created)
	b = append(b, `,"current_metadata_version":`...)
	b = strconv.AppendInt(b, int64(rec.metaVersion), 10)
	b = append(b, `,"current_version":`...)
	b = strconv.AppendInt(b, int64(rec.current), 10)
	b = append(b, `,"custom_metadata":`...)
	b = appendCustom(b, rec.custom)
	b = append(append(b, `,"delete_version_after":"`...), rec.DeleteAfter.String()...)
	b = append(b, `","max_versions":`...)
	b = strconv.AppendInt(b, int64(rec.MaxVersions), 10)
	b = append(b, `,"metadata_cas_required":`...)
	b = strconv.AppendBool(b, rec.MetaCASRequired)
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
	return append(b, "}}"...)
}

func (e *v2) listDetailed(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return e.detailed(ctx, v["path"], listed)
}

func (e *v2) scanDetailed(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return e.detailed(ctx, v["path"], engine.Below)
}

func listed(ctx context.Context, r barrier.Reader, dir string) ([]string, error) {
	return r.List(ctx, dir)
}

// detailed answers names with each key's metadata.
func (e *v2) detailed(ctx context.Context, dir string, names func(context.Context, barrier.Reader, string) ([]string, error)) (*engine.Response, error) {
	dir = strings.Trim(dir, "/")
	var found engine.Keys
	err := e.space.View(ctx, func(r barrier.Reader) (err error) {
		found.Info = map[string]any{}
		if found.Keys, err = names(ctx, r, strings.TrimSuffix(keyAt(dir), "/")); err != nil {
			return err
		}
		for _, name := range found.Keys {
			if strings.HasSuffix(name, "/") {
				continue
			}
			rec, err := load(ctx, r, strings.TrimPrefix(dir+"/"+name, "/"))
			if err != nil {
				return err
			}
			if rec != nil {
				found.Info[name] = json.RawMessage(rec.appendMeta(nil))
			}
		}
		return nil
	})
	if err != nil || len(found.Keys) == 0 {
		return nil, err
	}
	return &engine.Response{Data: found}, nil
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
	custom, err := customFields(f)
	if err != nil {
		return nil, err
	}
	return nil, e.change(ctx, v["path"], func(w barrier.Writer, rec *record) (*record, error) {
		if rec == nil {
			rec = newRecord(req.Now)
		}
		if err := checkMetaCAS(ctx, w, f, rec); err != nil {
			return nil, err
		}
		if f.Has("custom_metadata") {
			rec.custom = map[string]string{}
			for name, value := range custom {
				if value != nil {
					rec.custom[name] = *value
				}
			}
		}
		return rec, rec.tune(f, req.Now)
	})
}

func (e *v2) patchMeta(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	changes, err := customFields(f)
	if err != nil {
		return nil, err
	}
	return nil, e.change(ctx, v["path"], func(w barrier.Writer, rec *record) (*record, error) {
		if rec == nil {
			return nil, errAbsent
		}
		if err := checkMetaCAS(ctx, w, f, rec); err != nil {
			return nil, err
		}
		for name, value := range changes {
			if value == nil {
				delete(rec.custom, name)
				continue
			}
			if rec.custom == nil {
				rec.custom = map[string]string{}
			}
			rec.custom[name] = *value
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
	r.metaVersion++
	return checkCustom(r.custom)
}

// customFields reads custom metadata: texts, or null for what shall go.
func customFields(f *engine.Fields) (custom map[string]*string, err error) {
	if !f.Has("custom_metadata") {
		return nil, nil
	}
	var sent map[string]json.RawMessage
	if json.Unmarshal(f.Raw("custom_metadata"), &sent) != nil {
		return nil, fault.New(fault.Invalid, "custom_metadata must be an object with texts")
	}
	values := engine.Read(&engine.Request{Data: sent}) // numbers and the like count as texts
	custom = map[string]*string{}
	for name := range sent {
		custom[name] = nil
		if values.Has(name) {
			text := values.Text(name)
			custom[name] = &text
		}
	}
	if values.Err() != nil {
		return nil, fault.New(fault.Invalid, "custom_metadata validation failed: %w", values.Err())
	}
	return custom, nil
}

// checkMetaCAS compares the version of the metadata that the writer believes to be
// there; 0 says that there is none yet.
func checkMetaCAS(ctx context.Context, r barrier.Reader, f *engine.Fields, rec *record) error {
	cas := f.Int("metadata_cas", -1)
	if f.Err() != nil {
		return f.Err()
	}
	if cas >= 0 && cas != rec.metaVersion {
		return fault.New(fault.Invalid, "metadata check-and-set parameter does not match the current version")
	}
	if cas >= 0 || rec.MetaCASRequired {
		if cas < 0 {
			return errMetaCAS
		}
		return nil
	}
	cfg, err := loadConfig(ctx, r)
	if err == nil && cfg.MetaCASRequired {
		err = errMetaCAS
	}
	return err
}

var errMetaCAS = fault.New(fault.Invalid, "metadata check-and-set parameter required for this call")

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
