// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package bench measures what users wait for, as ratios to something simple
// that does the same outside work in the same run, so that figures from
// different machines can be compared.
package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/approle"
	"github.com/goldkeep/goldkeep/internal/engine/kv"
	"github.com/goldkeep/goldkeep/internal/engine/token"
	"github.com/goldkeep/goldkeep/internal/engine/transit"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/wire"
)

const (
	connections = 16
	rounds      = 7
	roundTime   = 400 * time.Millisecond
)

// server is a Goldkeep on a store with fsync, audit on, and a token that is not
// root.
type server struct {
	*httptest.Server
	barrier *barrier.Barrier
	gate    *gate.Gate
	token   string
}

func newServer(b *testing.B) *server {
	b.Helper()
	ctx := context.Background()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	st := openStore(b)
	must(auth.Migrate(ctx, st))
	bar, err := barrier.Open(ctx, st)
	must(err)
	key := bytes.Repeat([]byte{7}, 32)
	_, err = bar.Init(ctx, barrier.InitOptions{KeyFile: key})
	must(err)
	must(bar.UnsealWithFile(ctx, key))
	log, err := audit.Open(audit.Options{Path: filepath.Join(dir, "audit.log"), Node: "bench", Now: st.Now})
	must(err)
	b.Cleanup(func() { _ = log.Close() })

	space := bar.Space()
	tokens := auth.NewTokens(auth.TokensOptions{Store: st, Space: space.Sub("token"), Keys: bar, Entities: entity.New(space.Sub("identity"))})
	policies := auth.NewPolicies(space.Sub("policy"))
	policies.Exclusive = st.Exclusive()
	must(policies.Put(ctx, "app", `path "secret/data/*" { capabilities = ["create", "read", "update"] }
path "transit/*" { capabilities = ["create", "read", "update"] }
path "auth/approle/*" { capabilities = ["create", "read", "update"] }`))
	granted, err := tokens.Create(ctx, auth.NewToken{Policies: []string{"app"}})
	must(err)
	mounts := engine.NewMounts(space.Sub("mount"), map[string]engine.Kind{
		"kv": kv.New, "transit": transit.New, "auth/approle": approle.New(tokens),
	}, st.Exclusive())
	mounts.Fix("auth/token/", "token", "", token.New(token.Options{Tokens: tokens, Policies: policies, Mounts: mounts, Space: space.Sub("token-role")}))
	must(mounts.Add(ctx, engine.Mount{Path: "secret/", Kind: "kv", Options: map[string]string{"version": "2"}}))
	must(mounts.Add(ctx, engine.Mount{Path: "transit/", Kind: "transit"}))
	must(mounts.Add(ctx, engine.Mount{Path: "auth/approle/", Kind: "approle"}))
	g := gate.New(gate.Options{
		Barrier: bar, Mounts: mounts, Tokens: tokens, Policies: policies, Leases: none{},
		Wrapping: engine.NewWrapping(space.Sub("wrapping")), Audit: log, Now: st.Now, Logger: slog.New(slog.DiscardHandler),
	})
	srv := httptest.NewServer(wire.Handler(g, wire.Options{}))
	b.Cleanup(srv.Close)
	return &server{Server: srv, barrier: bar, gate: g, token: granted.Token}
}

// openStore opens the embedded store, or with GOLDKEEP_BENCH_STORE=postgres a
// PostgreSQL started on this machine for it; both sync every commit to disk.
func openStore(b *testing.B) store.Store {
	switch kind := os.Getenv("GOLDKEEP_BENCH_STORE"); kind {
	case "", "sqlite":
		return storetest.SQLite(b)
	case "postgres":
		return storetest.Postgres(b)
	default:
		b.Fatalf("GOLDKEEP_BENCH_STORE=%s: it is sqlite or postgres", kind)
		return nil
	}
}

type none struct{}

func (none) Activate(context.Context, string) error     { return nil }
func (none) Revoke(context.Context, string, bool) error { return nil }

// bare answers every request with the same bytes, after reading the body.
func bare(b *testing.B, answer []byte) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write(answer)
	}))
	b.Cleanup(srv.Close)
	return srv
}

// load is one kind of request; path and body may differ by number.
type load struct {
	url, method, token string
	path               func(n int64) string
	body               string
	client             *http.Client
}

func newLoad(url, token, method, body string, path func(int64) string) *load {
	return &load{url: url, token: token, method: method, body: body, path: path, client: &http.Client{
		Transport: &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections},
	}}
}

func (l *load) once(n int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), l.method, l.url+"/v1/"+l.path(n), strings.NewReader(l.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", l.token)
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return answer, err
}

// rate is how many requests a second the connections get through, and how long
// the slowest hundredth took at least.
func (l *load) rate(b *testing.B) (perSecond float64, p99 time.Duration, requests int) {
	b.Helper()
	var n atomic.Int64
	var failed atomic.Pointer[error]
	times := make([][]time.Duration, connections)
	var all sync.WaitGroup
	start := time.Now()
	for c := range connections {
		all.Go(func() {
			for time.Since(start) < roundTime && failed.Load() == nil {
				began := time.Now()
				if _, err := l.once(n.Add(1)); err != nil {
					failed.Store(&err)
				}
				times[c] = append(times[c], time.Since(began))
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	each := slices.Concat(times...)
	slices.Sort(each)
	return float64(len(each)) / took.Seconds(), each[len(each)*99/100], len(each)
}

// round is what one turn of a load came to.
type round struct {
	rate float64       // requests a second
	p99  time.Duration // the slowest hundredth took at least this
	cpu  float64       // microseconds of processor time a request, client included
}

func (l *load) round(b *testing.B) round {
	before := cpuTime(b)
	rate, p99, n := l.rate(b)
	return round{rate, p99, float64((cpuTime(b) - before).Microseconds()) / float64(n)}
}

// cpuTime is the processor time this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// compare plays both loads in turn and reports the medians. cpu-ratio is the
// ratio of processor time; unlike ratio it hardly depends on who else uses the
// machine.
func compare(b *testing.B, ours, plain *load) {
	b.Helper()
	var ratios, rates, slow, cpu, cpuUs []float64
	for range rounds {
		o, p := ours.round(b), plain.round(b)
		ratios, rates, slow = append(ratios, o.rate/p.rate), append(rates, o.rate), append(slow, float64(o.p99.Microseconds())/1000)
		cpu, cpuUs = append(cpu, p.cpu/o.cpu), append(cpuUs, o.cpu)
	}
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(cpu), "cpu-ratio")
	b.ReportMetric(median(cpuUs), "cpu-us/req")
	b.ReportMetric(median(rates), "req/s")
	b.ReportMetric(median(slow), "p99-ms")
	b.ReportMetric(0, "ns/op")
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

const kvBody = `{"data":{"username":"app","password":"correct horse battery staple","port":5432}}`

// BenchmarkKVRead reads 100 secrets in turn. Aim: ratio 0.5.
func BenchmarkKVRead(b *testing.B) {
	s := newServer(b)
	path := func(n int64) string { return fmt.Sprintf("secret/data/app/%d", n%100) }
	write := newLoad(s.URL, s.token, "POST", kvBody, path)
	for n := range int64(100) {
		if _, err := write.once(n); err != nil {
			b.Fatal(err)
		}
	}
	ours := newLoad(s.URL, s.token, "GET", "", path)
	answer, err := ours.once(1)
	if err != nil {
		b.Fatal(err)
	}
	compare(b, ours, newLoad(bare(b, answer).URL, s.token, "GET", "", path))
}

// BenchmarkKVWrite writes 100 secrets in turn, durably. Aim: ratio 0.15.
func BenchmarkKVWrite(b *testing.B) {
	s := newServer(b)
	path := func(n int64) string { return fmt.Sprintf("secret/data/app/%d", n%100) }
	ours := newLoad(s.URL, s.token, "POST", kvBody, path)
	answer, err := ours.once(1)
	if err != nil {
		b.Fatal(err)
	}
	compare(b, ours, newLoad(bare(b, answer).URL, s.token, "POST", kvBody, path))
}

// BenchmarkLookupSelf asks who one is. Aim: ratio 0.5.
func BenchmarkLookupSelf(b *testing.B) {
	s := newServer(b)
	path := func(int64) string { return "auth/token/lookup-self" }
	ours := newLoad(s.URL, s.token, "GET", "", path)
	answer, err := ours.once(1)
	if err != nil {
		b.Fatal(err)
	}
	compare(b, ours, newLoad(bare(b, answer).URL, s.token, "GET", "", path))
}

// BenchmarkGateRead is a read without HTTP: what the line itself costs.
func BenchmarkGateRead(b *testing.B) {
	s := newServer(b)
	ctx := context.Background()
	if _, err := newLoad(s.URL, s.token, "POST", kvBody, func(int64) string { return "secret/data/app" }).once(0); err != nil {
		b.Fatal(err)
	}
	req := &gate.Request{Op: policy.Read, Path: "secret/data/app", Token: s.token, Remote: "127.0.0.1"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.gate.Handle(ctx, req); err != nil {
			b.Fatal(err)
		}
	}
}
