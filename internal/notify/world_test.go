// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/notify"
	"github.com/goldkeep/goldkeep/internal/store"
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

// world is the room on the real rooms below it, with a clock of the test's.
type world struct {
	t         testing.TB
	st        store.Store
	barrier   *barrier.Barrier
	catalog   *catalog.Catalog
	workloads *workload.Book
	options   notify.Options
	mu        sync.Mutex
	passed    time.Duration
	*notify.Service
}

func newWorld(t testing.TB, st store.Store, edit func(*notify.Options)) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{t: t, st: st}
	w.barrier = must(barrier.Open(ctx, st))(t)
	if status := must(w.barrier.Status(ctx))(t); !status.Initialized {
		must(w.barrier.Init(ctx, barrier.InitOptions{KeyFile: make([]byte, 32)}))(t)
	}
	w.unseal()
	w.catalog = must(catalog.New(ctx, st))(t)
	w.workloads = must(workload.New(ctx, st, w.barrier))(t)
	w.options = notify.Options{
		Store: st, Keys: w.barrier, Catalog: goldens{w.catalog}, Workloads: w.workloads, Sealed: w.barrier.Sealed, Now: w.now, Server: "keep-1",
		Secret: func(_ context.Context, ref notify.SecretRef) (string, error) {
			return "value of " + ref.KV + " " + ref.Field, nil
		},
		Web: notify.Web{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if edit != nil {
		edit(&w.options)
	}
	w.Service = must(notify.New(ctx, w.options))(t)
	w.catalog.OnKeep = w.Judged
	w.catalog.OnMove = func(ctx context.Context, tx store.Tx, m catalog.Move) error { return w.Moved(ctx, tx, notify.Move(m)) }
	return w
}

func (w *world) unseal() { ok(w.t, w.barrier.UnsealWithFile(context.Background(), make([]byte, 32))) }

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.st.Now().Add(w.passed)
}

// pass lets time pass, then the server do what has come due.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	w.passed += d
	w.mu.Unlock()
	ok(w.t, w.Step(context.Background()))
}

func digest(name string) image.Digest { return image.DigestOf([]byte(name)) }

// own makes a golden image of an owner with one image in its gold channel.
func (w *world) own(golden, owner, contact string, id image.Digest) {
	w.t.Helper()
	must(w.catalog.PutGolden(context.Background(), catalog.Golden{
		Name: golden, Owner: owner, Contact: contact, Channels: map[string]image.Digest{"gold": id},
	}))(w.t)
}

var (
	fine = verdict.Verdict{Admit: verdict.Outcome{Answer: verdict.Yes}, Retain: verdict.Outcome{Answer: verdict.Yes}}
	bad  = verdict.Verdict{Admit: verdict.Outcome{Answer: verdict.No, Reasons: []verdict.Reason{{
		Rule: "vulnerabilities.maxCVSS", Answer: verdict.No, Text: "CVE-2026-1 in libssl3 3.0.15-1 has CVSS 9.8", Remedy: "rebuild on debian-base gold",
	}}}, Retain: verdict.Outcome{Answer: verdict.Yes}}
)

// judged is a verdict replaced by another, in prod.
func (w *world) judged(ctx context.Context, id image.Digest, old, kept verdict.Verdict) {
	w.t.Helper()
	kept.Image, kept.Environment = string(id), "prod"
	ok(w.t, w.st.Update(ctx, func(tx store.Tx) error { return w.Judged(ctx, tx, &old, kept) }))
}

// declare keeps a Notification as people write it.
func (w *world) declare(name, spec string) {
	w.t.Helper()
	ok(w.t, w.Put(context.Background(), *must(parse(w.t, name, spec))(w.t)))
}

func parse(t testing.TB, name, spec string) (*notify.Notification, error) {
	t.Helper()
	docs, err := manifest.Parse("n.yaml", []byte("apiVersion: goldkeep.dev/v1\nkind: Notification\nmetadata: {name: "+name+", owner: team}\nspec:\n"+spec))
	if err != nil {
		return nil, err
	}
	return notify.Parse(docs[0])
}

// call is one call of a webhook.
type call struct {
	key, signature, body string
	digest               notify.Digest
}

// receiver is a webhook that notes what it gets.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	calls []call
	say   func(n int) (status int, text string) // to the n-th call; nil: fine
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{}
	r.Server = httptest.NewTLSServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	c := call{key: req.Header.Get("Idempotency-Key"), signature: req.Header.Get("Goldkeep-Signature"), body: string(body)}
	_ = json.Unmarshal(body, &c.digest)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
	if r.say != nil {
		status, text := r.say(len(r.calls))
		w.Header().Set("Location", "https://elsewhere.example/")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func (r *receiver) got() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]call(nil), r.calls...)
}

// trusts makes a service believe the receiver's certificate.
func (r *receiver) trusts(o *notify.Options) {
	pool := x509.NewCertPool()
	pool.AddCert(r.Certificate())
	o.Web.Roots = pool
}

func (w *world) deliveries(state notify.DeliveryState) []notify.Delivery {
	w.t.Helper()
	return must(w.Deliveries(context.Background(), state, 0))(w.t)
}

// only returns the one delivery there is.
func (w *world) only() notify.Delivery {
	w.t.Helper()
	all := w.deliveries("")
	if len(all) != 1 {
		w.t.Fatalf("%d deliveries, want one: %+v", len(all), all)
	}
	return all[0]
}

func lacks(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if strings.Contains(text, word) {
			t.Errorf("%q is in: %.2000s", word, text)
		}
	}
}

func has(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not in: %.2000s", word, text)
		}
	}
}

func allowing(t testing.TB, networks ...string) notify.Web {
	t.Helper()
	var web notify.Web
	for _, text := range networks {
		web.Allow = append(web.Allow, must(netip.ParsePrefix(text))(t))
	}
	return web
}

// goldens is the catalog as internal/server joins it.
type goldens struct{ *catalog.Catalog }

func (g goldens) Goldens(ctx context.Context) ([]notify.Golden, error) {
	all, err := g.Catalog.Goldens(ctx)
	var out []notify.Golden
	for _, golden := range all {
		out = append(out, notify.Golden{Name: golden.Name, Owner: golden.Owner, Contact: golden.Contact})
	}
	return out, err
}

func (g goldens) BuiltOn(ctx context.Context, base image.Digest) ([]notify.Standing, error) {
	found, err := g.Catalog.BuiltOn(ctx, base)
	var out []notify.Standing
	for _, s := range found {
		out = append(out, notify.Standing(s))
	}
	return out, err
}
