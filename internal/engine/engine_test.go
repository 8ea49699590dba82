// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "90": 90 * time.Second, " 90 ": 90 * time.Second, "1h30m": 90 * time.Minute,
		"5d": 120 * time.Hour, "768h0m0s": 768 * time.Hour, "250ms": 250 * time.Millisecond,
		"-1": -1, "-5s": -1, "soon": -1, "5w": -1, "99999999999999999999": -1, "999999999999d": -1, "9223372036854775807": -1, "1e9": -1,
	} {
		got, err := engine.ParseDuration(text)
		if want < 0 && err == nil || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"90", "5d", "1h", "-1", "9223372036854775807d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := engine.ParseDuration(text)
		if err == nil && (d < 0 || d > 101*365*24*time.Hour) {
			t.Errorf("%q is %v", text, d)
		}
	})
}

func TestMatchPath(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/b/", false},
		{"a/b", "a", false},
		{"a/*", "a/", true},
		{"a/*", "a/b/c", true},
		{"a/*", "a", false},
		{"*", "", true},
		{"*", "x", true},
		{"a/+/c", "a/b/c", true},
		{"a/+/c", "a//c", false},
		{"a/+/c", "a/b/d", false},
		{"a/+", "a/b", true},
		{"a/+", "a/b/c", false},
		{"a/+/c*", "a/b/cd/e", true},
		{"+", "a", true},
		{"+", "", false},
		{"+/+", "a/b", true},
	} {
		if got := engine.MatchPath([]string{c.pattern}, c.path); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.path, got)
		}
	}
}

func TestRoutes(t *testing.T) {
	saw := ""
	note := func(name string) engine.Handler {
		return func(_ context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
			saw = name + ":" + v["x"] + ":" + v["y"]
			return nil, nil
		}
	}
	r := engine.Routes([]engine.Route{
		{Path: "a/{x}", Ops: engine.Ops{Read: note("one")}},
		{Path: "a/{x}/b/{y...}", Ops: engine.Ops{Read: note("rest"), List: note("list")}},
		{Path: "a/exact", Ops: engine.Ops{Read: note("exact")}},
	})
	for _, c := range []struct {
		op         string
		path, want string
		kind       fault.Kind
	}{
		{"read", "a/exact", "exact::", 0},
		{"read", "a/1", "one:1:", 0},
		{"read", "a/1/b/2/3", "rest:1:2/3", 0},
		{"list", "a/1/b/2/", "list:1:2/", 0},
		{"read", "a/", "", fault.NotFound},
		{"read", "a/1/b/", "", fault.NotFound},
		{"read", "b", "", fault.NotFound},
		{"delete", "a/1", "", fault.Unsupported},
		{"read", "a/1/c", "", fault.NotFound},
	} {
		saw = ""
		_, err := r.Handle(t.Context(), &engine.Request{Op: policy.Capability(c.op), Path: c.path})
		if saw != c.want || c.want == "" && !fault.Is(err, c.kind) {
			t.Errorf("%s %s: %q, %v; want %q", c.op, c.path, saw, err, c.want)
		}
	}
}

func space(t *testing.T) barrier.Space {
	t.Helper()
	ctx := t.Context()
	st, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "goldkeep.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	b, err := barrier.Open(ctx, st)
	if err != nil {
		t.Fatal(err)
	}
	key := bytes.Repeat([]byte{7}, 32)
	if _, err := b.Init(ctx, barrier.InitOptions{KeyFile: key}); err != nil {
		t.Fatal(err)
	}
	if err := b.UnsealWithFile(ctx, key); err != nil {
		t.Fatal(err)
	}
	return b.Space()
}

// note is an engine that knows its mount.
type note struct{ engine.Mount }

func (note) Handle(context.Context, *engine.Request) (*engine.Response, error) { return nil, nil }
func (note) Exists(context.Context, string) (bool, error)                      { return true, nil }
func (note) Special() engine.Special                                           { return engine.Special{} }

// TestMountsOfTwoNodes changes the table on one node and looks on the other, as
// two servers on one PostgreSQL do.
func TestMountsOfTwoNodes(t *testing.T) {
	ctx := t.Context()
	s := space(t)
	kinds := map[string]engine.Kind{"note": func(m engine.Mount, _ barrier.Space) engine.Engine { return note{m} }}
	a, b := engine.NewMounts(s, kinds, false), engine.NewMounts(s, kinds, false)
	a.Fix("sys/", "system", "", note{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	find := func(m *engine.Mounts, path string) string {
		t.Helper()
		slot, rest, err := m.Resolve(ctx, path)
		must(err)
		if slot == nil {
			return ""
		}
		return slot.Mount.Path + "|" + rest + "|" + slot.Mount.Description
	}
	if got := find(b, "x/y"); got != "" {
		t.Errorf("found %q in an empty table", got)
	}
	must(a.Add(ctx, engine.Mount{Path: "team/x", Kind: "note"}))
	if got := find(b, "team/x/y/z"); got != "team/x/|y/z|" {
		t.Errorf("found %q", got)
	}
	must(b.Tune(ctx, "team/x", func(m *engine.Mount) error { m.Description = "tuned"; return nil }))
	if got := find(a, "team/x/"); got != "team/x/||tuned" {
		t.Errorf("found %q", got)
	}
	for _, path := range []string{"team", "team/x", "team/x/below", "sys", "sys/x", ""} {
		if err := a.Add(ctx, engine.Mount{Path: path, Kind: "note"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("mount at %q: %v", path, err)
		}
	}
	must(b.Move(ctx, "team/x", "other"))
	if find(a, "team/x/y") != "" || find(a, "other/y") != "other/|y|tuned" {
		t.Error("a move was not seen")
	}
	must(b.Remove(ctx, "other"))
	if find(a, "other/y") != "" {
		t.Error("a removal was not seen")
	}
	if err := a.Remove(ctx, "sys"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a fixed mount: %v", err)
	}
}
