// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/lease"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// memory is an audit log that keeps its records, until it is told to fail.
type memory struct {
	records []audit.Record
	fail    error
	late    error // what waiting for the disk comes to
	waited  int   // how often somebody has
}

func (m *memory) Append(_ context.Context, rec audit.Record) error {
	if m.fail == nil {
		m.records = append(m.records, rec)
	}
	return m.fail
}

func (m *memory) Begin(ctx context.Context, rec audit.Record) (func() error, error) {
	return func() error { m.waited++; return m.late }, m.Append(ctx, rec)
}

// echo is an engine that answers with what it saw.
type echo struct {
	engine.Special
	exists bool
	asked  int  // how often Exists was
	makes  bool // whether the last request might make something
	fail   error
}

func (e *echo) Handle(_ context.Context, req *engine.Request) (*engine.Response, error) {
	e.makes = req.Creates
	return &engine.Response{Data: map[string]string{"op": string(req.Op), "path": req.Path, "token": req.Token}}, e.fail
}
func (e *echo) Exists(context.Context, string) (bool, error) { e.asked++; return e.exists, nil }

type parts struct {
	gate   *gate.Gate
	b      *barrier.Barrier
	log    *memory
	echo   *echo
	tokens *auth.Tokens
	rules  *auth.Policies
}

func newParts(t testing.TB) *parts {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	st, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "goldkeep.db"), sqlite.Options{})
	must(err)
	t.Cleanup(func() { _ = st.Close() })
	must(auth.Migrate(ctx, st))
	b, err := barrier.Open(ctx, st)
	must(err)
	key := bytes.Repeat([]byte{7}, 32)
	_, err = b.Init(ctx, barrier.InitOptions{KeyFile: key})
	must(err)
	must(b.UnsealWithFile(ctx, key))
	p := &parts{b: b, log: &memory{}, echo: &echo{Special: engine.Special{Sudo: []string{"guarded"}, Still: []string{"still"}}}}
	p.tokens = auth.NewTokens(auth.TokensOptions{Store: st, Space: b.Space().Sub("token"), Keys: b})
	p.rules = auth.NewPolicies(b.Space().Sub("policy"))
	mounts := engine.NewMounts(b.Space().Sub("mount"), map[string]engine.Kind{
		"echo": func(engine.Mount, barrier.Space) engine.Engine { return withSpecial{p.echo} },
	}, true)
	must(mounts.Add(ctx, engine.Mount{Path: "echo/", Kind: "echo"}))
	p.gate = gate.New(gate.Options{
		Barrier: b, Mounts: mounts, Tokens: p.tokens, Policies: p.rules, Wrapping: engine.NewWrapping(b.Space().Sub("wrap")),
		Leases: lease.New(lease.Options{Space: b.Space().Sub("lease")}),
		Audit:  p.log, Now: st.Now, Logger: slog.New(slog.DiscardHandler),
	})
	return p
}

type withSpecial struct{ *echo }

func (w withSpecial) Special() engine.Special { return w.echo.Special }

func (p *parts) token(t testing.TB, text string) string {
	t.Helper()
	if err := p.rules.Put(t.Context(), "testing", text); err != nil {
		t.Fatal(err)
	}
	granted, err := p.tokens.Create(t.Context(), auth.NewToken{Policies: []string{"testing"}})
	if err != nil {
		t.Fatal(err)
	}
	return granted.Token
}

// TestCreateOrUpdate: a write is one or the other, and the engine is only asked
// which where that decides.
func TestCreateOrUpdate(t *testing.T) {
	for _, c := range []struct {
		caps   string
		exists bool
		op     string // "" for denied
		asked  int
	}{
		{`"create", "update"`, false, "update", 0},
		{`"create", "update"`, true, "update", 0},
		{`"create"`, false, "create", 1},
		{`"create"`, true, "", 1},
		{`"update"`, true, "update", 1},
		{`"update"`, false, "", 1},
		{`"read"`, false, "", 0},
	} {
		p := newParts(t)
		p.echo.exists = c.exists
		tok := p.token(t, `path "echo/*" { capabilities = [`+c.caps+`] }`)
		resp, err := p.gate.Handle(t.Context(), &gate.Request{Op: policy.Update, Path: "echo/x", Token: tok})
		op := ""
		if err == nil {
			op = resp.Answer.Data.(map[string]string)["op"]
		} else if !fault.Is(err, fault.Denied) {
			t.Fatal(err)
		}
		if op != c.op || p.echo.asked != c.asked {
			t.Errorf("%s, exists %v: op %q, asked %d; want %q, %d", c.caps, c.exists, op, p.echo.asked, c.op, c.asked)
		}
	}
}

func TestSudoAndTokens(t *testing.T) {
	p := newParts(t)
	tok := p.token(t, `path "echo/*" { capabilities = ["read"] }
path "echo/guarded" { capabilities = ["read"] }`)
	if _, err := p.gate.Handle(t.Context(), &gate.Request{Op: policy.Read, Path: "echo/guarded", Token: tok}); !fault.Is(err, fault.Denied) {
		t.Errorf("without sudo: %v", err)
	}
	resp, err := p.gate.Handle(t.Context(), &gate.Request{Op: policy.Read, Path: "echo/open", Token: tok})
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Answer.Data.(map[string]string)["token"]; got != "" {
		t.Error("a secret engine was given the token")
	}
	kinds := ""
	for _, rec := range p.log.records {
		kinds += rec.Kind + ":" + rec.Answer + " "
	}
	if want := "response:deny request:allow response:allow "; kinds != want {
		t.Errorf("records %q, want %q", kinds, want)
	}
}

// TestNoAnswerBeforeTheDisk: the answer of a change, be it an error, waits for
// its record; where the disk failed it does not leave.
func TestNoAnswerBeforeTheDisk(t *testing.T) {
	p := newParts(t)
	tok := p.token(t, `path "echo/*" { capabilities = ["create", "update"] }`)
	change := &gate.Request{Op: policy.Update, Path: "echo/x", Token: tok}
	if _, err := p.gate.Handle(t.Context(), change); err != nil || p.log.waited != 1 {
		t.Errorf("waited %d times, %v", p.log.waited, err)
	}
	p.echo.fail = fault.New(fault.Conflict, "not now")
	if _, err := p.gate.Handle(t.Context(), change); !fault.Is(err, fault.Conflict) || p.log.waited != 2 {
		t.Errorf("an engine's error: waited %d times, %v", p.log.waited, err)
	}
	p.log.late = errors.New("input/output error")
	if _, err := p.gate.Handle(t.Context(), change); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the disk fails under the engine's error: %v", err)
	}
	p.echo.fail = nil
	if resp, err := p.gate.Handle(t.Context(), change); !fault.Is(err, fault.Unavailable) || resp != nil {
		t.Errorf("the disk fails: %v, %v", resp, err)
	}
}

// TestAStillWriteLeavesOneRecord: what changes nothing is recorded once, and the
// engine may not make anything then.
func TestAStillWriteLeavesOneRecord(t *testing.T) {
	for _, c := range []struct {
		path   string
		exists bool
		want   string // the records, and whether the engine may make what is not there
	}{
		{"echo/still", true, "response:allow makes false"},
		{"echo/still", false, "request:allow response:allow makes true"},
		{"echo/other", true, "request:allow response:allow makes true"},
	} {
		p := newParts(t)
		p.echo.exists = c.exists
		tok := p.token(t, `path "echo/*" { capabilities = ["create", "update"] }`)
		if _, err := p.gate.Handle(t.Context(), &gate.Request{Op: policy.Update, Path: c.path, Token: tok}); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, rec := range p.log.records {
			got += rec.Kind + ":" + rec.Answer + " "
		}
		if got += fmt.Sprint("makes ", p.echo.makes); got != c.want {
			t.Errorf("%s, exists %v: %s, want %s", c.path, c.exists, got, c.want)
		}
	}
}

func TestRecordEvents(t *testing.T) {
	p := newParts(t)
	event := gate.Event{Name: "revoke", Subject: "instance-1", Answer: "revoked", Reason: "retain failed", Detail: map[string]string{"digest": "planted"}}
	if err := p.gate.Record(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	rec := p.log.records[0]
	if rec.Kind != "event" || !rec.Sync || bytes.Contains(rec.Sealed, []byte("planted")) {
		t.Errorf("record %+v", rec)
	}
	if detail, err := p.gate.Open(rec); err != nil || string(detail) != `{"digest":"planted"}` {
		t.Errorf("detail %s, %v", detail, err)
	}
	moved := rec
	moved.ID = "another"
	if _, err := p.gate.Open(moved); err == nil {
		t.Error("a detail opens in another record")
	}
	p.b.Seal()
	if err := p.gate.Record(t.Context(), event); err != nil || p.log.records[1].Sealed != nil {
		t.Errorf("sealed: %v", err)
	}
	p.log.fail = errors.New("disk full of planted names")
	if err := p.gate.Record(t.Context(), event); !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "planted") {
		t.Errorf("without audit: %v", err)
	}
}

// FuzzEnvelope: whatever texts stand in an answer, its envelope is JSON and says
// them.
func FuzzEnvelope(f *testing.F) {
	f.Add("id", "a warning", "path")
	f.Add("\"", "\\", "<\u2028>")
	f.Fuzz(func(t *testing.T, id, warning, path string) {
		resp := &gate.Response{
			ID: id, Wrap: &engine.Wrap{Token: path, Path: path, TTL: time.Minute},
			Answer: &engine.Response{Warnings: []string{warning}},
		}
		raw, err := resp.AppendEnvelope(nil)
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]json.RawMessage
		if err := json.Unmarshal(raw, &back); err != nil || len(back) != 8 {
			t.Errorf("%s: %v", raw, err)
		}
	})
}

// FuzzPath: no path a policy could be deceived with reaches an engine.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"echo/a", "echo//a", "echo/../sys", "/echo", "echo/\x00", "echo/\u202e", "echo/é"} {
		f.Add(seed)
	}
	p := newParts(f)
	tok := p.token(f, `path "*" { capabilities = ["read"] }`)
	f.Fuzz(func(t *testing.T, path string) {
		_, err := p.gate.Handle(t.Context(), &gate.Request{Op: policy.Read, Path: path, Token: tok})
		bad := strings.Contains(path, "..") || strings.Contains(path, "//") || strings.ContainsAny(path, "\x00\n\r\x7f")
		if bad && err == nil {
			t.Errorf("%q reached an engine", path)
		}
		if err != nil && fault.Is(err, fault.Internal) {
			t.Errorf("%q: %v", path, err)
		}
	})
}
