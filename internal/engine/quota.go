// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Quota is a limit of requests from one client address.
type Quota struct {
	Name     string        `json:"name"`
	Path     string        `json:"path"`               // "": everywhere; "secret/": a mount; "secret/data/a": a path, or all below with "*" at its end
	Rate     float64       `json:"rate"`               // requests in an interval, above 0
	Interval time.Duration `json:"interval"`           // at least a second
	Block    time.Duration `json:"block,omitempty"`    // how long who went over is refused; 0: until the interval ends
	Inherits bool          `json:"inherits,omitempty"` // kept for clients that set it; there are no namespaces
}

// QuotaConfig is what holds for all quotas.
type QuotaConfig struct {
	Exempt  []string `json:"exempt"` // paths that are never limited; "*" at the end stands for any rest
	Headers bool     `json:"headers"`
	Audit   bool     `json:"audit"`
}

// alwaysExempt are the paths by which a server is looked after.
var alwaysExempt = []string{"sys/generate-root/*", "sys/generate-root-token/*", "sys/health", "sys/seal-status", "sys/unseal"}

// DefaultExempt are the paths that no quota limits until somebody says otherwise.
func DefaultExempt() []string { return append([]string(nil), alwaysExempt...) }

// Quotas limits how often one client address may ask. The limits are kept in
// sealed space; each server counts for itself, and takes over what another changed
// within a second.
type Quotas struct {
	space     barrier.Space
	exclusive bool

	mu      sync.Mutex // guards reading anew, and the counts
	rules   atomic.Pointer[quotaRules]
	windows map[window]*count
}

type quotaRules struct {
	read   time.Time
	list   []Quota
	config QuotaConfig
}

// window is where requests are counted: for one quota and one client.
type window struct{ quota, client string }

type count struct {
	began   time.Time
	blocked time.Time // until then
	used    int
}

const maxWindows = 100_000 // clients remembered; beyond them the oldest counts go

// NewQuotas keeps quotas in a space. exclusive says that no other process changes
// the store.
func NewQuotas(space barrier.Space, exclusive bool) *Quotas {
	return &Quotas{space: space, exclusive: exclusive, windows: map[window]*count{}}
}

const (
	quotaDir      = "rate-limit"
	quotaConfigAt = "config"
	staleQuotas   = time.Second
)

// Names lists the quotas.
func (q *Quotas) Names(ctx context.Context) (names []string, err error) {
	err = q.space.View(ctx, func(r barrier.Reader) error {
		names, err = r.List(ctx, quotaDir)
		return err
	})
	return names, err
}

// Get returns a quota, or nil.
func (q *Quotas) Get(ctx context.Context, name string) (found *Quota, err error) {
	err = q.space.View(ctx, func(r barrier.Reader) error {
		found, err = getQuota(ctx, r, name)
		return err
	})
	return found, err
}

func getQuota(ctx context.Context, r barrier.Reader, name string) (*Quota, error) {
	e, err := r.Get(ctx, quotaDir+"/"+name)
	if err != nil || e == nil {
		return nil, err
	}
	var found Quota
	if err := json.Unmarshal(e.Value, &found); err != nil {
		return nil, fmt.Errorf("decode quota: %w", err)
	}
	return &found, nil
}

// Put makes or changes a quota. Two for the same path are fault.Invalid.
func (q *Quotas) Put(ctx context.Context, n Quota) error {
	if err := n.check(); err != nil {
		return err
	}
	return q.change(ctx, func(w barrier.Writer) error {
		rules, err := readQuotas(ctx, w)
		if err != nil {
			return err
		}
		for _, other := range rules.list {
			if other.Path == n.Path && other.Name != n.Name {
				return fault.New(fault.Invalid, "quota rule with similar properties exists under the name %q", other.Name)
			}
		}
		return w.Put(ctx, barrier.Entry{Path: quotaDir + "/" + n.Name, Value: Stored(n)})
	})
}

func (q *Quota) check() error {
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
func (q *Quotas) Delete(ctx context.Context, name string) error {
	return q.change(ctx, func(w barrier.Writer) error { return w.Delete(ctx, quotaDir+"/"+name) })
}

// Config returns what holds for all quotas.
func (q *Quotas) Config(ctx context.Context) (c QuotaConfig, err error) {
	err = q.space.View(ctx, func(r barrier.Reader) error {
		c, err = getQuotaConfig(ctx, r)
		return err
	})
	return c, err
}

func getQuotaConfig(ctx context.Context, r barrier.Reader) (QuotaConfig, error) {
	c := QuotaConfig{Exempt: DefaultExempt()}
	e, err := r.Get(ctx, quotaConfigAt)
	if err != nil || e == nil {
		return c, err
	}
	return c, json.Unmarshal(e.Value, &c)
}

// Configure replaces what holds for all quotas.
func (q *Quotas) Configure(ctx context.Context, c QuotaConfig) error {
	return q.change(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: quotaConfigAt, Value: Stored(c)})
	})
}

func (q *Quotas) change(ctx context.Context, fn func(barrier.Writer) error) error {
	if err := q.space.Update(ctx, fn); err != nil {
		return err
	}
	q.Forget()
	return nil
}

// Forget drops what is held in memory, after a change or after sealing.
func (q *Quotas) Forget() {
	q.mu.Lock() // whoever is reading the old ones shall not put them after this
	defer q.mu.Unlock()
	q.rules.Store(nil)
}

func readQuotas(ctx context.Context, r barrier.Reader) (*quotaRules, error) {
	rules := &quotaRules{}
	names, err := r.List(ctx, quotaDir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		found, err := getQuota(ctx, r, name)
		if err != nil {
			return nil, err
		}
		if found != nil {
			rules.list = append(rules.list, *found)
		}
	}
	rules.config, err = getQuotaConfig(ctx, r)
	return rules, err
}

func (q *Quotas) current(ctx context.Context, now time.Time) (*quotaRules, error) {
	fresh := func() *quotaRules {
		if r := q.rules.Load(); r != nil && (q.exclusive || now.Sub(r.read) < staleQuotas) {
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
	var rules *quotaRules
	err := q.space.View(ctx, func(r barrier.Reader) (err error) {
		rules, err = readQuotas(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	rules.read = now
	q.rules.Store(rules)
	return rules, nil
}

// Allow counts a request; fault.Limited where its client has used up what the most
// precise quota for the path gives.
func (q *Quotas) Allow(ctx context.Context, mount, path, client string, now time.Time) error {
	rules, err := q.current(ctx, now)
	if err != nil || len(rules.list) == 0 || MatchPath(rules.config.Exempt, path) {
		return err
	}
	rule := rules.find(mount, path)
	if rule == nil || q.take(rule, client, now) {
		return nil
	}
	return fault.New(fault.Limited, "request path %q: rate limit quota exceeded", path).WithHint("ask less often, or have the quota %q raised", rule.Name)
}

// find is the most precise quota: one for the path, then for all below the longest
// path, then for the mount, then for everything.
func (r *quotaRules) find(mount, path string) (best *Quota) {
	rank := -1
	for i := range r.list {
		if n := r.list[i].rank(mount, path); n > rank {
			best, rank = &r.list[i], n
		}
	}
	return best
}

func (q *Quota) rank(mount, path string) int {
	prefix, glob := strings.CutSuffix(q.Path, "*")
	switch {
	case q.Path == "":
		return 0
	case q.Path == mount:
		return 1
	case q.Path == path || q.Path+"/" == path:
		return 1 << 20
	case glob && strings.HasPrefix(path, prefix):
		return 2 + len(prefix)
	}
	return -1
}

func (q *Quotas) take(rule *Quota, client string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := window{rule.Name, client}
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

// makeRoom keeps memory bounded: over the limit those go that count nothing any
// more, and where that is not enough any.
func (q *Quotas) makeRoom(now time.Time) {
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
