// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// ComputedPrefix starts the names of policies that have no text of their own but
// are worked out by Policies.Resolver: "workload/payments".
const ComputedPrefix = "workload/"

// maxSets bounds the compiled sets kept, of names and of those with templates
// filled in each; when it is reached all are dropped.
const maxSets = 4000

// Policies keeps the named policies and compiles them for subjects.
//
// What is compiled is reused as long as it is right: on a store that only this
// process writes that is until a write here; otherwise a version, written with
// every change, is read in each Set.
type Policies struct {
	// Exclusive says that only this process writes the store. Set before use.
	Exclusive bool
	// Resolver returns the text of a computed policy. It is asked in every Set
	// that names one. Set before use; nil: there are none.
	Resolver func(ctx context.Context, name string) (text string, ok bool, err error)

	space    barrier.Space
	confined bool // see Confine

	mu   sync.Mutex
	gen  uint64 // counts writes by this process
	sets map[string]compiledSet
	mine map[string]compiledSet // with templates filled in, by names and values
}

type compiledSet struct {
	version   string
	set       policy.Set       // for whom nothing is known
	policies  []*policy.Policy // where there are templates
	templates []string         // the values they ask for
}

// NewPolicies returns the policies of a space of their own.
func NewPolicies(space barrier.Space) *Policies {
	return &Policies{space: space, sets: map[string]compiledSet{}, mine: map[string]compiledSet{}}
}

const versionPath = "version"

func policyPath(name string) string { return "name/" + hex.EncodeToString([]byte(name)) }

// builtin returns the texts of policies that are there without being written;
// fixed ones cannot be written at all.
func builtin(name string) (text string, fixed, known bool) {
	switch name {
	case policy.RootName:
		return "", true, true
	case policy.WrappingName:
		return policy.WrappingText, true, true
	case policy.NodeName:
		return policy.NodeText, true, true
	case policy.DefaultName:
		return policy.DefaultText, false, true
	}
	return "", false, false
}

// Get returns a policy's text; fault.NotFound where there is none. "root" has an
// empty text.
func (p *Policies) Get(ctx context.Context, name string) (string, error) {
	name = policy.NormalName(name)
	var text string
	var ok bool
	err := p.space.View(ctx, func(r barrier.Reader) (err error) {
		text, ok, err = p.read(ctx, r, name)
		return err
	})
	if err == nil && !ok && p.Resolver != nil && strings.HasPrefix(name, ComputedPrefix) {
		text, ok, err = p.Resolver(ctx, name)
	}
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "no policy named %q", name)
	}
	return text, err
}

// read returns a written or built-in text.
func (p *Policies) read(ctx context.Context, r barrier.Reader, name string) (text string, ok bool, err error) {
	if p.confined && rootOnly(name) {
		return "", false, nil
	}
	text, fixed, known := builtin(name)
	if fixed {
		return text, true, nil
	}
	e, err := r.Get(ctx, policyPath(name))
	if err != nil || e == nil {
		return text, known, err
	}
	return string(e.Value), true, nil
}

// Put writes a policy after parsing it; a fixed name or a bad text is
// fault.Invalid.
func (p *Policies) Put(ctx context.Context, name, text string) error {
	name = policy.NormalName(name)
	if err := checkPolicy(name, text); err != nil {
		return err
	}
	return p.change(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: policyPath(name), Value: []byte(text)})
	})
}

func checkPolicy(name, text string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, fixed, _ := builtin(name); fixed {
		return fault.New(fault.Invalid, "cannot update %q policy", name)
	}
	_, err := policy.Parse(name, text)
	return err
}

func checkName(name string) error {
	switch {
	case name == "" || len(name) > 256:
		return fault.New(fault.Invalid, "the name of a policy must have 1 to 256 bytes")
	case strings.HasPrefix(name, ComputedPrefix):
		return fault.New(fault.Invalid, "policy names starting with %q are computed and cannot be written", ComputedPrefix).
			WithHint("change the workload instead")
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == ',' }):
		return fault.New(fault.Invalid, "the name of a policy must not hold control characters or commas")
	}
	return nil
}

// Delete removes a policy; removing nothing is fine. Built-in ones, "default"
// among them, are fault.Invalid.
func (p *Policies) Delete(ctx context.Context, name string) error {
	name = policy.NormalName(name)
	if _, fixed, known := builtin(name); known && !fixed {
		return fault.New(fault.Invalid, "cannot delete %s policy", name)
	} else if fixed {
		return fault.New(fault.Invalid, "cannot delete %q policy", name)
	}
	return p.change(ctx, func(w barrier.Writer) error {
		if err := w.Delete(ctx, aboutPath(name)); err != nil {
			return err
		}
		return w.Delete(ctx, policyPath(name))
	})
}

// change runs a write and makes everything compiled before it stale.
func (p *Policies) change(ctx context.Context, fn func(barrier.Writer) error) error {
	err := p.space.Update(ctx, func(w barrier.Writer) error {
		version, err := readVersion(ctx, w)
		if err != nil {
			return err
		}
		n, _ := strconv.ParseUint(version, 10, 64)
		if err := w.Put(ctx, barrier.Entry{Path: versionPath, Value: []byte(strconv.FormatUint(n+1, 10))}); err != nil {
			return err
		}
		return fn(w)
	})
	// Also after an error: the change may have been made all the same.
	p.mu.Lock()
	p.gen++
	clear(p.sets)
	clear(p.mine)
	p.mu.Unlock()
	return err
}

func readVersion(ctx context.Context, r barrier.Reader) (string, error) {
	e, err := r.Get(ctx, versionPath)
	if err != nil || e == nil {
		return "0", err
	}
	return string(e.Value), nil
}

// List returns the names of all policies but the internal and computed ones.
func (p *Policies) List(ctx context.Context) ([]string, error) {
	always := []string{policy.DefaultName, policy.NodeName, policy.RootName}
	if p.confined {
		always = always[:1]
	}
	var names []string
	err := p.space.View(ctx, func(r barrier.Reader) error {
		names = slices.Clone(always)
		keys, err := r.List(ctx, "name")
		for _, k := range keys {
			name, err := hex.DecodeString(k)
			if err != nil {
				return err
			}
			names = append(names, string(name))
		}
		return err
	})
	slices.Sort(names)
	return slices.Compact(names), err
}

// Set compiles the policies of a subject, for who is behind it (nil: nobody).
// Names without a policy give nothing.
func (p *Policies) Set(ctx context.Context, names []string, who *entity.Identity) (policy.Set, error) {
	if !p.confined && slices.Contains(names, policy.RootName) {
		return policy.NewSet(&policy.Policy{Name: policy.RootName}), nil
	}
	key, c, err := p.compiled(ctx, names)
	if err != nil || who == nil || len(c.templates) == 0 {
		return c.set, err
	}
	return p.filled(key, c, who), nil
}

// filled is a set with templates for somebody. It is kept by exactly the values
// that were put in, so that nobody is ever given a set made of another's.
func (p *Policies) filled(key string, c compiledSet, who *entity.Identity) policy.Set {
	var b strings.Builder
	b.WriteString(key)
	for _, name := range c.templates {
		b.WriteByte(0)
		if value, ok := who.Value(name); ok {
			b.WriteString(strconv.Itoa(len(value)))
			b.WriteByte(':')
			b.WriteString(value)
		}
	}
	key = b.String()
	p.mu.Lock()
	have, ok := p.mine[key]
	p.mu.Unlock()
	if ok && have.version == c.version {
		return have.set
	}
	filled := make([]*policy.Policy, len(c.policies))
	for i, one := range c.policies {
		filled[i] = one.Fill(who.Value)
	}
	set := policy.NewSet(filled...)
	p.keep(p.mine, key, compiledSet{version: c.version, set: set})
	return set
}

// compiled are the named policies as they are now, and what to remember them by.
func (p *Policies) compiled(ctx context.Context, names []string) (string, compiledSet, error) {
	key, computed, err := p.resolve(ctx, names)
	if err != nil {
		return "", compiledSet{}, err
	}
	p.mu.Lock()
	version := "local-" + strconv.FormatUint(p.gen, 10)
	have, ok := p.sets[key]
	p.mu.Unlock()
	if p.Exclusive && ok && have.version == version {
		return key, have, nil
	}
	var made compiledSet
	err = p.space.View(ctx, func(r barrier.Reader) error {
		if !p.Exclusive {
			v, err := readVersion(ctx, r)
			if err != nil {
				return err
			}
			if version = "stored-" + v; ok && have.version == version {
				made = have
				return nil
			}
		}
		made, err = p.compile(ctx, r, names, computed)
		made.version = version
		return err
	})
	if err != nil {
		return "", compiledSet{}, err
	}
	p.keep(p.sets, key, made)
	return key, made, nil
}

func (p *Policies) keep(sets map[string]compiledSet, key string, c compiledSet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(sets) >= maxSets {
		clear(sets)
	}
	sets[key] = c
}

// resolve asks for the computed texts and returns what to remember a set by:
// the names and those texts.
func (p *Policies) resolve(ctx context.Context, names []string) (key string, texts map[string]string, err error) {
	key = strings.Join(names, ",")
	if p.Resolver == nil {
		return key, nil, nil
	}
	for _, name := range names {
		if !strings.HasPrefix(name, ComputedPrefix) {
			continue
		}
		text, ok, err := p.Resolver(ctx, name)
		if err != nil {
			return "", nil, err
		}
		if !ok {
			continue
		}
		if texts == nil {
			texts = map[string]string{}
		}
		texts[name] = text
		sum := sha256.Sum256([]byte(text))
		key += "\x00" + string(sum[:])
	}
	return key, texts, nil
}

func (p *Policies) compile(ctx context.Context, r barrier.Reader, names []string, computed map[string]string) (compiledSet, error) {
	var c compiledSet
	var parsed []*policy.Policy
	for _, name := range names {
		text, ok := computed[name]
		if !ok {
			var err error
			if text, ok, err = p.read(ctx, r, name); err != nil {
				return c, err
			}
		}
		if !ok {
			continue
		}
		one, err := policy.Parse(name, text)
		if err != nil {
			return c, err
		}
		parsed = append(parsed, one)
		c.templates = append(c.templates, one.Templates()...)
	}
	if len(c.templates) > 0 {
		slices.Sort(c.templates)
		c.policies, c.templates = parsed, slices.Compact(c.templates)
	}
	c.set = policy.NewSet(parsed...)
	return c, nil
}
