// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package quota limits how often one client address may ask.
package quota

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Rule is a limit of requests from one client address.
type Rule struct {
	Name     string        `json:"name"`
	Path     string        `json:"path"`               // "": everywhere; "secret/": a mount; "secret/data/a": a path, or all below with "*" at its end
	Rate     float64       `json:"rate"`               // requests in an interval, above 0
	Interval time.Duration `json:"interval"`           // at least a second
	Block    time.Duration `json:"block,omitempty"`    // how long who went over is refused; 0: until the interval ends
	Inherits bool          `json:"inherits,omitempty"` // of one for a namespace: also for those below it
	Space    bool          `json:"space,omitempty"`    // Path leads to a namespace
}

// Config is what holds for all quotas.
type Config struct {
	Exempt  []string `json:"exempt"` // paths that are never limited; "*" at the end stands for any rest
	Headers bool     `json:"headers"`
	Audit   bool     `json:"audit"`
}

// alwaysExempt are the paths by which a server is looked after.
var alwaysExempt = []string{"sys/generate-root/*", "sys/generate-root-token/*", "sys/health", "sys/seal-status", "sys/unseal"}

// DefaultExempt are the paths that no quota limits until somebody says otherwise.
func DefaultExempt() []string { return append([]string(nil), alwaysExempt...) }

// Limiter limits how often one client address may ask. The limits are kept in
// sealed space; each server counts for itself, and takes over what another changed
// within a second.
type Limiter struct {
	space     barrier.Space
	exclusive bool

	mu      sync.Mutex // guards reading anew, and the counts
	rules   atomic.Pointer[rules]
	windows map[window]*count
}

type rules struct {
	read   time.Time
	list   []Rule
	config Config
}

// window is where requests are counted: for one quota and one client.
type window struct{ quota, client string }

type count struct {
	began   time.Time
	blocked time.Time // until then
	used    int
}

const maxWindows = 100_000 // clients remembered; beyond them the oldest counts go

// New keeps quotas in a space. exclusive says that no other process changes
// the store.
func New(space barrier.Space, exclusive bool) *Limiter {
	return &Limiter{space: space, exclusive: exclusive, windows: map[window]*count{}}
}

const (
	ruleDir  = "rate-limit"
	configAt = "config"
	stale    = time.Second
)

// Names lists the quotas.
func (q *Limiter) Names(ctx context.Context) (names []string, err error) {
	err = q.space.View(ctx, func(r barrier.Reader) error {
		names, err = r.List(ctx, ruleDir)
		return err
	})
	return names, err
}

// Get returns a quota, or nil.
func (q *Limiter) Get(ctx context.Context, name string) (found *Rule, err error) {
	err = q.space.View(ctx, func(r barrier.Reader) error {
		found, err = getRule(ctx, r, name)
		return err
	})
	return found, err
}

func getRule(ctx context.Context, r barrier.Reader, name string) (*Rule, error) {
	e, err := r.Get(ctx, ruleDir+"/"+name)
	if err != nil || e == nil {
		return nil, err
	}
	var found Rule
	if err := json.Unmarshal(e.Value, &found); err != nil {
		return nil, fmt.Errorf("decode quota: %w", err)
	}
	return &found, nil
}

// Put makes or changes a quota. Two for the same path are fault.Invalid.
func (q *Limiter) Put(ctx context.Context, n Rule) error {
	if err := n.check(); err != nil {
		return err
	}
	return q.change(ctx, func(w barrier.Writer) error {
		rules, err := readRules(ctx, w)
		if err != nil {
			return err
		}
		for _, other := range rules.list {
			if other.Path == n.Path && other.Name != n.Name {
				return fault.New(fault.Invalid, "quota rule with similar properties exists under the name %q", other.Name)
			}
		}
		return w.Put(ctx, barrier.Entry{Path: ruleDir + "/" + n.Name, Value: stored(n)})
	})
}

func (q *Rule) check() error {
	switch {
	case q.Name == "" || strings.Contains(q.Name, "/"):
		return fault.New(fault.Invalid, "a quota needs a name without slashes")
	case !(q.Rate > 0) || q.Rate > 1e9:
		return fault.New(fault.Invalid, "'rate' must be greater than 0")
	case q.Interval < time.Second:
		return fault.New(fault.Invalid, "'interval' must be at least a second")
	case q.Block < 0:
		return fault.New(fault.Invalid, "'block_interval' must not be negative")
	}
	return nil
}

// Delete removes a quota; removing nothing is fine.
func (q *Limiter) Delete(ctx context.Context, name string) error {
	return q.change(ctx, func(w barrier.Writer) error { return w.Delete(ctx, ruleDir+"/"+name) })
}

// Config returns what holds for all quotas.
func (q *Limiter) Config(ctx context.Context) (c Config, err error) {
	err = q.space.View(ctx, func(r barrier.Reader) error {
		c, err = getConfig(ctx, r)
		return err
	})
	return c, err
}

func getConfig(ctx context.Context, r barrier.Reader) (Config, error) {
	c := Config{Exempt: DefaultExempt()}
	e, err := r.Get(ctx, configAt)
	if err != nil || e == nil {
		return c, err
	}
	return c, json.Unmarshal(e.Value, &c)
}

// Configure replaces what holds for all quotas.
func (q *Limiter) Configure(ctx context.Context, c Config) error {
	return q.change(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: configAt, Value: stored(c)})
	})
}

func (q *Limiter) change(ctx context.Context, fn func(barrier.Writer) error) error {
	if err := q.space.Update(ctx, fn); err != nil {
		return err
	}
	q.Forget()
	return nil
}

// Forget drops what is held in memory, after a change or after sealing.
func (q *Limiter) Forget() {
	q.mu.Lock() // whoever is reading the old ones shall not put them after this
	defer q.mu.Unlock()
	q.rules.Store(nil)
}

func readRules(ctx context.Context, r barrier.Reader) (*rules, error) {
	rules := &rules{}
	names, err := r.List(ctx, ruleDir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		found, err := getRule(ctx, r, name)
		if err != nil {
			return nil, err
		}
		if found != nil {
			rules.list = append(rules.list, *found)
		}
	}
	rules.config, err = getConfig(ctx, r)
	return rules, err
}

func (q *Limiter) current(ctx context.Context, now time.Time) (*rules, error) {
	fresh := func() *rules {
		if r := q.rules.Load(); r != nil && (q.exclusive || now.Sub(r.read) < stale) {
			return r
		}
		return nil
	}
	if r := fresh(); r != nil {
		return r, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if r := fresh(); r != nil {
		return r, nil
	}
	var rules *rules
	err := q.space.View(ctx, func(r barrier.Reader) (err error) {
		rules, err = readRules(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	rules.read = now
	q.rules.Store(rules)
	return rules, nil
}

// Asked is a request that is counted; its paths begin with its namespace.
type Asked struct {
	Namespace, Mount, Path string // "team/", "team/secret/", "team/secret/data/a"
	Client                 string // its address
}

// Allow counts a request; fault.Limited where its client has used up what the most
// precise quota for the path gives.
func (q *Limiter) Allow(ctx context.Context, a Asked, now time.Time) error {
	rules, err := q.current(ctx, now)
	if err != nil || len(rules.list) == 0 || matches(rules.config.Exempt, a.Path) {
		return err
	}
	rule := rules.find(a)
	if rule == nil || q.take(rule, a.Client, now) {
		return nil
	}
	return fault.New(fault.Limited, "request path %q: rate limit quota exceeded", a.Path).WithHint("ask less often, or have the quota %q raised", rule.Name)
}

// find is the most precise quota: one for the path, then for all below the longest
// path, then for the mount, then for the nearest namespace, then for everything.
func (r *rules) find(a Asked) (best *Rule) {
	rank := -1
	for i := range r.list {
		if n := r.list[i].rank(a); n > rank {
			best, rank = &r.list[i], n
		}
	}
	return best
}

func (q *Rule) rank(a Asked) int {
	prefix, glob := strings.CutSuffix(q.Path, "*")
	switch {
	case q.Path == "":
		return 0
	case q.Space && (q.Path == a.Namespace || q.Inherits && strings.HasPrefix(a.Namespace, q.Path)):
		return len(q.Path)
	case q.Space:
		return -1
	case q.Path == a.Mount:
		return 1 << 18
	case q.Path == a.Path || q.Path+"/" == a.Path:
		return 1 << 20
	case glob && strings.HasPrefix(a.Path, prefix):
		return 1<<19 + len(prefix)
	}
	return -1
}

func (q *Limiter) take(rule *Rule, client string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := window{rule.Name, Client(client)}
	c := q.windows[key]
	if c == nil {
		q.makeRoom(now)
		c = &count{began: now}
		q.windows[key] = c
	}
	if now.Before(c.blocked) {
		return false
	}
	if now.Sub(c.began) >= rule.Interval || now.Before(c.began) {
		c.began, c.used = now, 0
	}
	if c.used++; c.used <= int(math.Ceil(rule.Rate)) {
		return true
	}
	if rule.Block > 0 {
		c.blocked = now.Add(rule.Block)
	}
	return false
}

// Client is who counts as one client, by a peer's address: of IPv6 the network of 64
// bits, since whoever has one address has all of them.
func Client(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return remote
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr.WithZone(""), 64).Masked().String()
}

// makeRoom keeps memory bounded: over the limit those go that count nothing any
// more, and where that is not enough any.
func (q *Limiter) makeRoom(now time.Time) {
	if len(q.windows) < maxWindows {
		return
	}
	for key, c := range q.windows {
		if now.Sub(c.began) > time.Hour && !now.Before(c.blocked) {
			delete(q.windows, key)
		}
	}
	for key := range q.windows {
		if len(q.windows) < maxWindows*9/10 {
			return
		}
		delete(q.windows, key)
	}
}

// stored is how a thing is kept.
func stored(v any) []byte {
	raw, _ := json.Marshal(v) // nothing in it can fail
	return raw
}

// matches reports whether a path is one of a list, in which "*" at an end stands
// for any rest.
func matches(list []string, path string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		start, any := strings.CutSuffix(p, "*")
		return p == path || any && strings.HasPrefix(path, start)
	})
}
