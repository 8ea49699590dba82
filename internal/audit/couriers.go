// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Couriers are the audit devices: those of the configuration, and those made
// through the API, which are sealed in the store and known once unsealed.
type Couriers struct {
	log      string // the audit log's file
	head     func() Anchor
	declared []DeviceConfig
	allowed  bool // to make devices through the API
	space    barrier.Space
	changed  chan struct{}

	mu      sync.Mutex
	running map[string]*running
}

type running struct {
	config  DeviceConfig
	courier *Courier
	stop    func() // and wait
}

// CouriersOptions says which log's records are brought where.
type CouriersOptions struct {
	Log      *File
	Path     string         // of the log
	Declared []DeviceConfig // of the configuration
	AllowAPI bool           // devices may be made through the API
	Space    barrier.Space  // where those are kept
}

// NewCouriers makes them; Run has them work.
func NewCouriers(o CouriersOptions) *Couriers {
	return &Couriers{
		log: o.Path, head: o.Log.Head, declared: o.Declared, allowed: o.AllowAPI, space: o.Space,
		changed: make(chan struct{}, 1), running: map[string]*running{},
	}
}

// lookBeat is how often devices made on another node are looked for.
const lookBeat = 2 * time.Second

// Run keeps a courier for each device until ctx ends.
func (c *Couriers) Run(ctx context.Context) error {
	tick := time.NewTicker(lookBeat)
	defer tick.Stop()
	for {
		if wanted, err := c.wanted(ctx); err == nil { // sealed: those that run go on
			c.settle(ctx, wanted)
		}
		select {
		case <-ctx.Done():
			c.settle(ctx, nil)
			return nil
		case <-tick.C:
		case <-c.changed:
		}
	}
}

// settle stops what is not wanted any more and starts what is new.
func (c *Couriers) settle(ctx context.Context, wanted []DeviceConfig) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, r := range c.running {
		if !slices.ContainsFunc(wanted, func(w DeviceConfig) bool { return reflect.DeepEqual(w, r.config) }) {
			r.stop()
			delete(c.running, name)
		}
	}
	for _, w := range wanted {
		if c.running[w.Name] != nil {
			continue
		}
		courier, err := NewCourier(c.log, c.head, w, time.Now)
		if err != nil {
			continue // checked when it was declared or made
		}
		own, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); courier.Run(own) }()
		c.running[w.Name] = &running{config: w, courier: courier, stop: func() { cancel(); <-done }}
	}
}

// wanted are all devices. While sealed only the declared ones are known, which
// is an error once others run.
func (c *Couriers) wanted(ctx context.Context) ([]DeviceConfig, error) {
	all := slices.Clone(c.declared)
	made, err := c.made(ctx)
	if fault.Is(err, fault.Sealed) && len(c.states()) <= len(c.declared) {
		return all, nil
	}
	return append(all, made...), err
}

func (c *Couriers) made(ctx context.Context) (all []DeviceConfig, err error) {
	err = c.space.View(ctx, func(r barrier.Reader) error {
		all = nil
		names, err := r.List(ctx, "")
		if err != nil {
			return err
		}
		for _, name := range names {
			entry, err := r.Get(ctx, name)
			if err != nil {
				return err
			}
			var d DeviceConfig
			if err := json.Unmarshal(entry.Value, &d); err != nil {
				return fault.New(fault.Internal, "decode audit device: %w", err)
			}
			all = append(all, d)
		}
		return nil
	})
	return all, err
}

// states tells how all devices are doing, by name.
func (c *Couriers) states() []CourierState {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []CourierState
	for _, r := range c.running {
		all = append(all, r.courier.State())
	}
	slices.SortFunc(all, func(a, b CourierState) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Failing names the devices that do not take records.
func (c *Couriers) Failing() []string {
	var names []string
	for _, s := range c.states() {
		if s.Error != "" {
			names = append(names, s.Name+"/")
		}
	}
	return names
}

// Devices lists all: the declared ones, and those made through the API.
func (c *Couriers) Devices(ctx context.Context) ([]DeviceConfig, error) {
	made, err := c.made(ctx)
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(c.declared), made...), nil
}

// AddDevice makes a device, where that is allowed.
func (c *Couriers) AddDevice(ctx context.Context, d DeviceConfig) error {
	if !c.allowed {
		return fault.New(fault.Invalid, "cannot enable audit device via API; use declarative, config-based audit device management instead").
			WithHint("declare it under devices, or allow this with allowAPI: whoever may make devices can write files as the server")
	}
	if d.Options == nil {
		d.Options = map[string]string{}
	}
	if _, err := OpenDevice(d); err != nil {
		return err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return fault.New(fault.Internal, "encode audit device: %w", err)
	}
	err = c.space.Update(ctx, func(w barrier.Writer) error {
		there, err := w.Get(ctx, d.Name)
		if err == nil && (there != nil || c.isDeclared(d.Name)) {
			err = fault.New(fault.Invalid, "path already in use at %s/", d.Name)
		}
		return errors.Join(err, w.Put(ctx, barrier.Entry{Path: d.Name, Value: text}))
	})
	c.look()
	return err
}

func (c *Couriers) isDeclared(name string) bool {
	return slices.ContainsFunc(c.declared, func(d DeviceConfig) bool { return d.Name == name })
}

// RemoveDevice removes one that was made through the API.
func (c *Couriers) RemoveDevice(ctx context.Context, name string) error {
	if c.isDeclared(name) {
		return fault.New(fault.Invalid, "the audit device %s/ is declared in the server's configuration: remove it there", name)
	}
	err := c.space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, name) })
	c.look()
	return err
}

func (c *Couriers) look() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}
