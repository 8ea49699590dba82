// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// v2 keeps versions of each key.
type v2 struct {
	space  barrier.Space
	routes *engine.Router
}

func newV2(space barrier.Space) *v2 {
	e := &v2{space: space}
	const settings = "max_versions:integer cas_required:boolean delete_version_after:duration metadata_cas_required:boolean"
	const versions = "versions:list"
	e.routes = engine.Routes([]engine.Route{
		{
			Path: "config", Help: "What the mount sets for all its keys.", Takes: settings,
			Ops: engine.Ops{Read: e.readConfig, Write: e.writeConfig},
		},
		{
			Path: "data/{path...}", Help: "A secret: read a version, put or patch a new one, delete the newest.", Takes: "data:map options:map version:integer",
			Ops: engine.Ops{Read: e.read, Write: e.write, Patch: e.patch, Delete: e.deleteNewest},
		},
		{Path: "metadata/", Help: "The names of secrets.", Ops: engine.Ops{List: e.list, Scan: e.scan}},
		{
			Path: "metadata/{path...}", Help: "A key's versions and settings, or the names in a folder.", Takes: settings + " custom_metadata:map metadata_cas:integer",
			Ops: engine.Ops{Read: e.readMeta, List: e.list, Scan: e.scan, Write: e.writeMeta, Patch: e.patchMeta, Delete: e.forget},
		},
		{Path: "detailed-metadata/", Help: "The names of secrets with what is known of each.", Ops: engine.Ops{List: e.listDetailed, Scan: e.scanDetailed}},
		{Path: "detailed-metadata/{path...}", Help: "The names in a folder with what is known of each.", Ops: engine.Ops{List: e.listDetailed, Scan: e.scanDetailed}},
		{Path: "subkeys/{path...}", Help: "A secret's fields without their values.", Takes: "version:integer depth:integer", Ops: engine.Ops{Read: e.subkeys}},
		{Path: "delete/{path...}", Help: "Deletes versions; they can be undeleted.", Takes: versions, Ops: engine.Ops{Write: e.deleteVersions}},
		{Path: "undelete/{path...}", Help: "Brings deleted versions back.", Takes: versions, Ops: engine.Ops{Write: e.undelete}},
		{Path: "destroy/{path...}", Help: "Removes versions for good.", Takes: versions, Ops: engine.Ops{Write: e.destroy}},
	})
	return e
}

// Special implements engine.Engine.
func (e *v2) Special() engine.Special { return special(e.routes.All()) }

// Exists implements engine.Engine.
func (e *v2) Exists(ctx context.Context, path string) (bool, error) {
	kind, key, _ := strings.Cut(path, "/")
	if kind != "data" && kind != "metadata" || key == "" {
		return true, nil
	}
	return exists(ctx, e.space, key)
}

// Handle implements engine.Engine.
func (e *v2) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	if done, err := checkKey(req); done || err != nil {
		return nil, err
	}
	resp, err := e.routes.Handle(ctx, req)
	if fault.Is(err, fault.NotFound) && !errors.Is(err, errAbsent) {
		return astray(req), nil
	}
	return resp, err
}

// astray answers a path that version 2 does not have: as a rule it is one of version 1.
func astray(req *engine.Request) *engine.Response {
	const hint = "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use."
	text := hint + " If using the Vault CLI, use 'vault kv " + commands[req.Op] + "' for this operation."
	switch {
	case req.Path == "data" || req.Path == "metadata":
		text = "Non-listing operations on the root of a K/V v2 mount are not supported."
	case commands[req.Op] == "":
		text = hint
	}
	return &engine.Response{Status: 404, Warnings: []string{text}}
}

// commands are the commands of clients for what can be asked.
var commands = map[policy.Capability]string{
	policy.Read: "get", policy.List: "list", policy.Create: "put", policy.Update: "put", policy.Patch: "patch", policy.Delete: "delete",
}

// change runs fn on a key's record (nil where there is none) in one durable
// transaction and saves what it returns.
func (e *v2) change(ctx context.Context, key string, fn func(barrier.Writer, *record) (*record, error)) error {
	return e.space.Update(ctx, func(w barrier.Writer) error {
		rec, err := load(ctx, w, key)
		if err != nil {
			return err
		}
		if rec, err = fn(w, rec); err != nil || rec == nil {
			return err
		}
		return rec.save(ctx, w, key)
	})
}

// fetch finds a key's record and one version with its data.
func (e *v2) fetch(ctx context.Context, req *engine.Request, key string) (*record, *version, json.RawMessage, error) {
	f := engine.Read(req)
	n := f.Int("version", 0)
	if f.Err() != nil {
		return nil, nil, nil, f.Err()
	}
	var rec *record
	var v *version
	var data json.RawMessage
	err := e.space.View(ctx, func(r barrier.Reader) (err error) {
		if rec, err = load(ctx, r, key); err != nil || rec == nil {
			return err
		}
		if v = rec.find(n); v != nil && !v.gone(req.Now) {
			data, err = rec.content(ctx, r, v)
		}
		return err
	})
	return rec, v, data, err
}

func (e *v2) read(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	rec, found, data, err := e.fetch(ctx, req, v["path"])
	if err != nil || found == nil {
		return nil, err
	}
	return answer("data", rec, found, data), nil
}

func (e *v2) subkeys(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	depth := f.Int("depth", 0)
	if f.Err() != nil || depth < 0 {
		return nil, fault.New(fault.Invalid, "depth must be a whole number from 0")
	}
	rec, found, data, err := e.fetch(ctx, req, v["path"])
	if err != nil || found == nil {
		return nil, err
	}
	if data != nil {
		data = subkeys(data, depth, 0)
	}
	return answer("subkeys", rec, found, data), nil
}

// answer shows one version; a deleted one is 404, but says what it was.
func answer(name string, rec *record, v *version, data json.RawMessage) *engine.Response {
	b := make([]byte, 0, len(data)+256)
	b = append(append(append(b, `{"`...), name...), `":`...)
	status := 0
	if data == nil {
		b, status = append(b, "null"...), 404
	} else {
		b = append(b, data...)
	}
	b = append(b, `,"metadata":`...)
	b = append(appendMetadata(b, rec, v), '}')
	return &engine.Response{Status: status, Data: json.RawMessage(b)}
}

func (e *v2) write(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	data, err := payload(req)
	if err != nil {
		return nil, err
	}
	return e.put(ctx, req, v["path"], func(_ barrier.Writer, _ *record) (json.RawMessage, error) { return data, nil })
}

var errAbsent = fault.New(fault.NotFound, "there is no current version to patch")

func (e *v2) patch(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	change, err := payload(req)
	if err != nil {
		return nil, err
	}
	return e.put(ctx, req, v["path"], func(w barrier.Writer, rec *record) (json.RawMessage, error) {
		last := rec.find(0)
		if last == nil || last.gone(req.Now) {
			return nil, errAbsent
		}
		old, err := rec.content(ctx, w, last)
		if err != nil {
			return nil, err
		}
		return merge(old, change, 0)
	})
}

// payload is the "data" of a write.
func payload(req *engine.Request) (json.RawMessage, error) {
	data := bytes.TrimSpace(req.Data["data"])
	if len(data) == 0 || string(data) == "null" {
		return nil, fault.New(fault.Invalid, "no data provided")
	}
	if data[0] != '{' {
		return nil, fault.New(fault.Invalid, "data must be an object")
	}
	return data, nil
}

// put adds a version, made by fn from the record as it is.
func (e *v2) put(ctx context.Context, req *engine.Request, key string, fn func(barrier.Writer, *record) (json.RawMessage, error)) (*engine.Response, error) {
	options := engine.Read(req).Object("options")
	cas := options.Int("cas", noCAS)
	if options.Err() != nil {
		return nil, fault.New(fault.Invalid, "error parsing check-and-set parameter")
	}
	var reply []byte
	err := e.change(ctx, key, func(w barrier.Writer, rec *record) (*record, error) {
		cfg, err := loadConfig(ctx, w)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			rec = newRecord(req.Now)
		}
		if err := checkCAS(cas, rec, cfg); err != nil {
			return nil, err
		}
		data, err := fn(w, rec)
		if err != nil {
			return nil, err
		}
		added := version{n: rec.current + 1, created: req.Now, deleted: cfg.deletion(rec, req.Now), data: data}
		rec.updated = req.Now
		reply = appendMetadata(nil, rec, &added)
		return rec, rec.add(ctx, w, added, cfg.limit(rec))
	})
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: json.RawMessage(reply)}, nil
}

// noCAS says that the writer named no version.
const noCAS = math.MinInt

// checkCAS compares the version the writer believes to be the newest. 0 says
// that there is none yet; a number below is never right.
func checkCAS(cas int, rec *record, cfg config) error {
	if cas == noCAS {
		if cfg.CASRequired || rec.CASRequired {
			return fault.New(fault.Invalid, "check-and-set parameter required for this call")
		}
		return nil
	}
	if cas != rec.current {
		return fault.New(fault.Invalid, "check-and-set parameter did not match the current version")
	}
	return nil
}

func (e *v2) deleteNewest(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.change(ctx, v["path"], func(_ barrier.Writer, rec *record) (*record, error) {
		if rec == nil {
			return nil, nil
		}
		last := rec.find(0)
		if last == nil || last.gone(req.Now) {
			return nil, nil
		}
		last.deleted, rec.updated = req.Now, req.Now
		return rec, nil
	})
}

func (e *v2) deleteVersions(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	return e.each(ctx, req, v["path"], func(_ barrier.Writer, _ *record, v *version) error {
		if !v.gone(req.Now) {
			v.deleted = req.Now
		}
		return nil
	})
}

func (e *v2) undelete(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	return e.each(ctx, req, v["path"], func(w barrier.Writer, rec *record, v *version) error {
		if v.destroyed || v.deleted.IsZero() {
			return nil
		}
		cfg, err := loadConfig(ctx, w)
		v.deleted = cfg.deletion(rec, req.Now)
		return err
	})
}

func (e *v2) destroy(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	return e.each(ctx, req, v["path"], func(w barrier.Writer, rec *record, v *version) error {
		if v.destroyed {
			return nil
		}
		if err := rec.erase(ctx, w, v); err != nil {
			return err
		}
		v.destroyed = true
		return nil
	})
}

// each does something to the versions the request names. Those that are not
// there are passed over.
func (e *v2) each(ctx context.Context, req *engine.Request, key string, fn func(barrier.Writer, *record, *version) error) (*engine.Response, error) {
	f := engine.Read(req)
	var numbers []int
	for _, text := range f.List("versions") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "versions must be whole numbers")
		}
		numbers = append(numbers, n)
	}
	if f.Err() != nil {
		return nil, f.Err()
	}
	if len(numbers) == 0 {
		text := "No version number provided"
		if strings.HasPrefix(req.Path, "destroy/") {
			text = "no version number provided" // as the reference has it
		}
		return nil, fault.New(fault.Invalid, "%s", text)
	}
	return nil, e.change(ctx, key, func(w barrier.Writer, rec *record) (*record, error) {
		if rec == nil {
			return nil, nil
		}
		for _, n := range numbers {
			v := rec.find(n)
			if n == 0 || v == nil {
				continue
			}
			if err := fn(w, rec, v); err != nil {
				return nil, err
			}
		}
		rec.updated = req.Now
		return rec, nil
	})
}

func (e *v2) list(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return list(ctx, e.space, v["path"])
}

func (e *v2) scan(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return scan(ctx, e.space, v["path"])
}

func (e *v2) forget(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.space.Update(ctx, func(w barrier.Writer) error { return forget(ctx, w, v["path"]) })
}

// config is what a mount sets for all its keys.
type config struct{ settings }

const defaultMaxVersions = 10

// limit is how many versions of a key are kept: the larger of what the mount
// and the key say.
func (c config) limit(rec *record) int {
	if n := max(c.MaxVersions, rec.MaxVersions); n > 0 {
		return n
	}
	return defaultMaxVersions
}

// deletion is when a version made now will delete itself, or zero. A key can
// only shorten what the mount says; a mount that says nothing leaves it to the key.
func (c config) deletion(rec *record, now time.Time) time.Time {
	after := c.DeleteAfter
	if rec.DeleteAfter > 0 && (after == 0 || rec.DeleteAfter < after) {
		after = rec.DeleteAfter
	}
	if after <= 0 {
		return time.Time{}
	}
	return now.Add(after)
}
