// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package totp makes and checks the six-digit codes of RFC 6238. It can be either
// side: the device that shows codes, for keys others made, and the service that asks
// for them, for keys it makes. A code it has accepted once is refused from then on,
// by every server on the store.
package totp

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Engine serves one mount.
type Engine struct {
	space  barrier.Space
	routes *engine.Router
}

// New makes the engine of a mount.
func New(_ engine.Mount, space barrier.Space) engine.Engine {
	e := &Engine{space: space}
	e.routes = engine.Routes([]engine.Route{
		{Path: "keys", Help: "The names of the keys.", Ops: engine.Ops{List: e.list}},
		{
			Path: "keys/{name}", Help: "A key: made here (generate), or taken over from a url or its text.",
			Takes: "generate:boolean exported:boolean key_size:integer key issuer account_name period:duration algorithm digits:integer skew:integer qr_size:integer url",
			Ops:   engine.Ops{Read: e.read, Write: e.write, Delete: e.remove},
		},
		{
			Path: "code/{name}", Help: "Read: the code of this moment. Write: whether a code is right.", Takes: "code",
			Ops: engine.Ops{Read: e.code, Write: e.check},
		},
	})
	return e
}

// Special implements engine.Engine.
func (e *Engine) Special() engine.Special {
	return engine.Special{Pure: []string{"*"}, Routes: e.routes.All()}
}

// Exists implements engine.Engine: every write is an update, as clients' policies
// expect here.
func (*Engine) Exists(context.Context, string) (bool, error) { return true, nil }

// Handle implements engine.Engine.
func (e *Engine) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	return e.routes.Handle(ctx, req)
}

func keyAt(name string) string   { return "key/" + name }
func usedAt(name string) string  { return "used/" + name }
func triedAt(name string) string { return "tried/" + name }

func (e *Engine) list(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	var names []string
	err := e.space.View(ctx, func(r barrier.Reader) (err error) {
		names, err = r.List(ctx, "key")
		return err
	})
	return engine.Listing(names, err)
}

// load reads a key, nil where there is none.
func load(ctx context.Context, r barrier.Reader, name string) (*key, error) {
	found, err := r.Get(ctx, keyAt(name))
	if err != nil || found == nil {
		return nil, err
	}
	k := &key{}
	if err := json.Unmarshal(found.Value, k); err != nil {
		return nil, fmt.Errorf("decode key: %w", err)
	}
	return k, nil
}

func (e *Engine) look(ctx context.Context, name string) (k *key, err error) {
	err = e.space.View(ctx, func(r barrier.Reader) error {
		k, err = load(ctx, r, name)
		return err
	})
	return k, err
}

func (e *Engine) read(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	k, err := e.look(ctx, v["name"])
	if err != nil || k == nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{
		"issuer": k.Issuer, "account_name": k.Account, "period": (time.Duration(k.Period) * time.Second).String(),
		"algorithm": k.Algorithm, "digits": k.Digits,
	}}, nil
}

func (e *Engine) write(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	o, err := readOptions(engine.Read(req))
	if err != nil {
		return nil, err
	}
	k, err := o.key()
	if err != nil {
		return nil, err
	}
	var answer *engine.Response
	if o.generate && o.exported {
		if answer, err = show(k, o.qrSize); err != nil {
			return nil, err
		}
	}
	err = e.space.Update(ctx, func(w barrier.Writer) error {
		if err := forget(ctx, w, v["name"]); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: keyAt(v["name"]), Value: engine.Stored(k)})
	})
	return answer, err
}

func (e *Engine) remove(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.space.Update(ctx, func(w barrier.Writer) error {
		if err := forget(ctx, w, v["name"]); err != nil {
			return err
		}
		return w.Delete(ctx, keyAt(v["name"]))
	})
}

// forget drops what belongs to a key's codes.
func forget(ctx context.Context, w barrier.Writer, name string) error {
	if err := w.Delete(ctx, triedAt(name)); err != nil {
		return err
	}
	return w.Delete(ctx, usedAt(name))
}

func unknown(name string) error { return fault.New(fault.Invalid, "unknown key: %s", name) }

func (e *Engine) code(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	k, err := e.look(ctx, v["name"])
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, unknown(v["name"])
	}
	return &engine.Response{Data: map[string]string{"code": k.codes().At(k.codes().Counter(req.Now))}}, nil
}

// check says whether a code is right, and spends it. Who guesses has few tries: see
// tries.
func (e *Engine) check(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	code := f.Text("code")
	if f.Err() != nil {
		return nil, f.Err()
	}
	if code == "" {
		return nil, fault.New(fault.Invalid, "the code value is required")
	}
	valid := false
	err := e.space.Update(ctx, func(w barrier.Writer) error {
		k, err := load(ctx, w, v["name"])
		if err != nil {
			return err
		}
		if k == nil {
			return unknown(v["name"])
		}
		tried, err := begin(ctx, w, v["name"], req.Now)
		if err != nil {
			return err
		}
		counter, right := k.codes().Match(strings.TrimSpace(code), req.Now)
		if valid = right; !right {
			return tried.failed(ctx, w, v["name"], req.Now)
		}
		if tried.Count > 0 {
			if err := w.Delete(ctx, triedAt(v["name"])); err != nil {
				return err
			}
		}
		return spend(ctx, w, usedAt(v["name"]), use{counter, k.codes().Counter(req.Now) - uint64(k.Skew)})
	})
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]bool{"valid": valid}}, nil
}

// tries are the wrong codes since the last right one. RFC 6238 leaves it to the
// service to slow down guessing: after ten, no code of the key is looked at for five
// minutes.
type tries struct {
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
}

const (
	maxTries = 10
	tryAgain = 5 * time.Minute
)

// begin reads the tries of a key, and refuses one more where there were too many.
func begin(ctx context.Context, r barrier.Reader, name string, now time.Time) (tries, error) {
	found, err := engine.Found[tries](ctx, r, triedAt(name))
	if err != nil || found == nil {
		return tries{}, err
	}
	over := !now.Before(found.Last.Add(tryAgain))
	switch {
	case over:
		return tries{}, nil
	case found.Count >= maxTries:
		return tries{}, fault.New(fault.Invalid, "too many wrong codes for this key").
			WithHint("wait %s after the last wrong one", tryAgain)
	}
	return *found, nil
}

func (t tries) failed(ctx context.Context, w barrier.Writer, name string, now time.Time) error {
	t.Count, t.Last = t.Count+1, now
	return w.Put(ctx, barrier.Entry{Path: triedAt(name), Value: engine.Stored(t)})
}

// use is the use of a counter's code; oldest is the first counter of which a code is
// accepted now.
type use struct{ counter, oldest uint64 }

// spend notes at a path that a code was used; one that was already is refused.
// Counters that no code is accepted for any more are forgotten.
func spend(ctx context.Context, w barrier.Writer, at string, u use) error {
	var used []uint64
	found, err := w.Get(ctx, at)
	if err != nil {
		return err
	}
	if found != nil {
		if err := json.Unmarshal(found.Value, &used); err != nil {
			return fmt.Errorf("decode used codes: %w", err)
		}
	}
	if slices.Contains(used, u.counter) {
		return fault.New(fault.Invalid, "code already used; wait until the next time period")
	}
	used = slices.DeleteFunc(used, func(c uint64) bool { return c < u.oldest })
	return w.Put(ctx, barrier.Entry{Path: at, Value: engine.Stored(append(used, u.counter))})
}
