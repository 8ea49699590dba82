// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package identity_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/ca"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/identity"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/workload"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a node: the identity room on the real rooms below it.
type world struct {
	t          testing.TB
	st         store.Store
	barrier    *barrier.Barrier
	catalog    *catalog.Catalog
	workloads  *workload.Book
	advisories *advisory.Index
	tokens     *tokens
	audit      *journal
	*identity.Service
}

// clock is a machine's clock that stands still until it is moved.
type clock struct {
	mu     sync.Mutex
	passed time.Duration
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed += d
}

func (c *clock) boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed
}

// morning is when the passed clocks start.
var morning = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// clocked makes a node on an embedded store whose clock is the test's.
func clocked(t *testing.T) (*world, *clock) {
	t.Helper()
	c := &clock{}
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "goldkeep.db"), sqlite.Options{
		Wall: func() time.Time { return morning.Add(c.boot()) }, Boot: c.boot,
	})
	ok(t, err)
	t.Cleanup(func() { _ = st.Close() })
	return newWorld(t, st), c
}

// newWorld makes a node that is unsealed. A second one on the same database is
// another node.
func newWorld(t testing.TB, st store.Store) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{t: t, st: st, audit: &journal{}}
	w.barrier = must(barrier.Open(ctx, st))(t)
	key := make([]byte, 32)
	if status := must(w.barrier.Status(ctx))(t); !status.Initialized {
		must(w.barrier.Init(ctx, barrier.InitOptions{KeyFile: key}))(t)
	}
	w.unseal()
	w.catalog = must(catalog.New(ctx, st))(t)
	w.workloads = must(workload.New(ctx, st, w.barrier))(t)
	w.advisories = advisory.New(st)
	ok(t, w.advisories.Migrate(ctx))
	ok(t, auth.Migrate(ctx, st))
	w.tokens = &tokens{Tokens: auth.NewTokens(auth.TokensOptions{Store: st, Space: w.barrier.Space().Sub("token"), Keys: w.barrier})}
	w.Service = w.service()
	return w
}

// service makes the room anew, as after a restart.
func (w *world) service() *identity.Service {
	return must(identity.New(context.Background(), identity.Options{
		Store: w.st, Catalog: w.catalog, Workloads: w.workloads, Tokens: w.tokens, Record: w.audit.record, Sealed: w.barrier.Sealed,
		Authority: func(ctx context.Context) (*ca.Authority, error) {
			return ca.Open(ctx, w.barrier.Space().Sub("ca"), "test.local")
		},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}))(w.t)
}

func (w *world) unseal() {
	w.t.Helper()
	ok(w.t, w.barrier.UnsealWithFile(context.Background(), make([]byte, 32)))
}

// tokens are the real ones, as internal/server joins them; revoking can fail.
type tokens struct {
	*auth.Tokens
	mu      sync.Mutex
	broken  error
	onIssue func() // called once a token is there
}

func (t *tokens) Issue(ctx context.Context, in identity.Instance, policy string, ttl time.Duration) (string, string, error) {
	granted, err := t.Create(ctx, auth.NewToken{
		Policies: []string{policy}, TTL: ttl, Period: ttl, Path: "api/v1/instances", Instance: in.ID,
	})
	if err != nil {
		return "", "", err
	}
	if t.onIssue != nil {
		t.onIssue()
	}
	return granted.Token, granted.Accessor, nil
}

func (t *tokens) Extend(ctx context.Context, accessor string, ttl time.Duration) error {
	_, err := t.RenewAccessor(ctx, accessor, auth.Renewal{Increment: ttl})
	return err
}

func (t *tokens) RevokeInstance(ctx context.Context, id string) (int, error) {
	t.mu.Lock()
	broken := t.broken
	t.mu.Unlock()
	if broken != nil {
		return 0, broken
	}
	return t.Tokens.RevokeInstance(ctx, id)
}

func (t *tokens) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = err
}

// valid reports whether a token still opens anything.
func (t *tokens) valid(token string) bool {
	_, err := t.Subject(context.Background(), token)
	return err == nil
}

// journal is an audit log that can fail.
type journal struct {
	mu     sync.Mutex
	broken bool
	events []string // "instance.revoked: why"
}

func (j *journal) record(_ context.Context, e identity.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken {
		return fault.New(fault.Unavailable, "the audit log cannot be written")
	}
	j.events = append(j.events, e.Name+": "+e.Reason)
	return nil
}

func (j *journal) fail(broken bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = broken
}

// count is how many events start with a name.
func (j *journal) count(name string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.events {
		if strings.HasPrefix(e, name+":") {
			n++
		}
	}
	return n
}

func digest(name string) image.Digest { return image.DigestOf([]byte(name)) }

// story sets up what most tests start from: environment prod with some rules,
// workload pay from golden image pay, whose gold is the image app, which is known.
func (w *world) story(rules string) {
	w.t.Helper()
	ctx := context.Background()
	w.feed("OTHER-1", "example.com/other")
	w.rules(rules)
	w.golden("app")
	w.learn("app", "example.com/lib")
	ok(w.t, w.workloads.Put(ctx, workload.Workload{
		Name: "pay", Owner: "team", Environment: "prod", Image: workload.Image{Golden: "pay", Channel: "gold"},
		Secrets: []workload.Secret{{KV: "pay/db", Mount: "secret", File: "db"}},
	}))
}

// strict refuses and revokes at once.
const strict = `
  admit: [{vulnerabilities: {maxCVSS: 6.9}}]
  retain: [{vulnerabilities: {maxCVSS: 6.9}}]
  onFail: revoke
`

// graceful warns for a day first.
const graceful = `
  admit: [{vulnerabilities: {maxCVSS: 6.9}}]
  retain: [{vulnerabilities: {maxCVSS: 6.9, grace: {critical: 24h}}}]
  onFail: revoke
`

func (w *world) rules(spec string) {
	w.t.Helper()
	docs := must(manifest.Parse("env.yaml", []byte("apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: sec}\nspec:"+spec)))(w.t)
	env := must(verdict.ParseEnvironment(docs[0]))(w.t)
	ok(w.t, w.catalog.PutEnvironment(context.Background(), *env, false))
}

func (w *world) golden(name string) {
	w.t.Helper()
	must(w.catalog.PutGolden(context.Background(), catalog.Golden{Name: "pay", Owner: "team", Channels: map[string]image.Digest{"gold": digest(name)}}))(w.t)
}

// learn has the server know an image of some Go modules, matched with the
// advisories of now.
func (w *world) learn(name string, modules ...string) {
	w.t.Helper()
	ev := verdict.Evidence{Image: verdict.Image{ID: string(digest(name)), ChainID: string(digest(name + " chain")), Kind: "image", Name: name}}
	for _, m := range append(modules, "example.com/clean") { // never empty: nothing is known of nothing
		ev.Components = append(ev.Components, component.Component{Ecosystem: "Go", Name: m, Version: "1.0.0", PURL: "pkg:golang/" + m + "@v1.0.0"})
	}
	ev = must(scan.Rematch(context.Background(), ev, w.advisories, w.st.Now()))(w.t)
	img := &image.Image{ID: digest(name), Manifests: []image.Digest{digest(name + " manifest")}}
	ok(w.t, w.catalog.Learn(context.Background(), img, ev))
}

// feed imports a Go feed of one critical advisory and lets the server settle it.
func (w *world) feed(id, module string) error {
	w.t.Helper()
	var body bytes.Buffer
	z := zip.NewWriter(&body)
	f := must(z.Create(id + ".json"))(w.t)
	published := w.st.Now().Format(time.RFC3339)
	_, err := io.WriteString(f, `{"id":"`+id+`","modified":"`+published+`","published":"`+published+`","summary":"bad",
		"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
		"affected":[{"package":{"ecosystem":"Go","name":"`+module+`"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.0"}]}]}]}`)
	ok(w.t, err)
	ok(w.t, z.Close())
	change := must(w.advisories.Import(context.Background(), "Go", bytes.NewReader(body.Bytes()), int64(body.Len()), nil))(w.t)
	if w.Service == nil {
		return nil
	}
	_, err = w.Refresh(context.Background(), change.Keys)
	return err
}

// evidence is what an honest agent says about a container of an image.
func evidence(name string) attest.Evidence {
	return attest.Evidence{
		Kind: attest.KindPodman, Image: string(digest(name)), ChainID: string(digest(name + " chain")), ImageName: name,
		Container: "c0ffee", Node: "web-1", UID: 1000,
	}
}

var request = sync.OnceValue(func() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
})

// admit has an honest agent ask for an image.
func (w *world) admit(name string) (*identity.Grant, error) {
	return w.Admit(context.Background(), evidence(name), request())
}

// admitted must be.
func (w *world) admitted(name string) *identity.Grant {
	w.t.Helper()
	return must(w.admit(name))(w.t)
}

func (w *world) instance(id string) identity.Instance {
	w.t.Helper()
	return *must(w.Get(context.Background(), id))(w.t)
}

func (w *world) step() {
	w.t.Helper()
	ok(w.t, w.Step(context.Background()))
}

// refusal must be one, whose text holds a part and whose hint says something.
func refusal(t testing.TB, err error, part string) *identity.Refusal {
	t.Helper()
	var r *identity.Refusal
	if !errors.As(err, &r) || !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), part) {
		t.Fatalf("error = %v, want a refusal with %q", err, part)
	}
	return r
}
