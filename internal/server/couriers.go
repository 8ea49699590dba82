// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine/sys"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// AuditDevice declares a place that gets copies of the audit log.
type AuditDevice struct {
	Name        string            `yaml:"name"`
	Type        string            `yaml:"type"` // file, syslog or socket
	Description string            `yaml:"description"`
	Options     map[string]string `yaml:"options"`
}

func (d AuditDevice) config() audit.DeviceConfig { return audit.DeviceConfig(d) }

// couriers are the audit devices: those of the configuration, and those made
// through the API, which are sealed in the store and known once unsealed.
type couriers struct {
	log      string // the audit log's file
	head     func() audit.Anchor
	declared []AuditDevice
	allowed  bool // to make devices through the API
	space    barrier.Space
	blind    func([]byte) (string, error)
	changed  chan struct{}

	mu      sync.Mutex
	running map[string]*running
}

type running struct {
	config  audit.DeviceConfig
	courier *audit.Courier
	stop    func() // and wait
}

func newCouriers(s *Server) *couriers {
	return &couriers{
		log: s.config.Audit.File, head: s.audit.Head, declared: s.config.Audit.Devices, allowed: s.config.Audit.AllowAPI,
		space: s.barrier.Space().Sub("audit-device"), changed: make(chan struct{}, 1), running: map[string]*running{},
	}
}

// lookBeat is how often devices made on another node are looked for.
const lookBeat = 2 * time.Second

// Run keeps a courier for each device until ctx ends.
func (c *couriers) Run(ctx context.Context) error {
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
func (c *couriers) settle(ctx context.Context, wanted []audit.DeviceConfig) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, r := range c.running {
		if !slices.ContainsFunc(wanted, func(w audit.DeviceConfig) bool { return reflect.DeepEqual(w, r.config) }) {
			r.stop()
			delete(c.running, name)
		}
	}
	for _, w := range wanted {
		if c.running[w.Name] != nil {
			continue
		}
		courier, err := audit.NewCourier(c.log, c.head, w, time.Now)
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
func (c *couriers) wanted(ctx context.Context) ([]audit.DeviceConfig, error) {
	var all []audit.DeviceConfig
	for _, d := range c.declared {
		all = append(all, d.config())
	}
	made, err := c.made(ctx)
	if fault.Is(err, fault.Sealed) && len(c.states()) <= len(c.declared) {
		return all, nil
	}
	return append(all, made...), err
}

func (c *couriers) made(ctx context.Context) (all []audit.DeviceConfig, err error) {
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
			var d audit.DeviceConfig
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
func (c *couriers) states() []audit.CourierState {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []audit.CourierState
	for _, r := range c.running {
		all = append(all, r.courier.State())
	}
	slices.SortFunc(all, func(a, b audit.CourierState) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// failing names the devices that do not take records.
func (c *couriers) failing() []string {
	var names []string
	for _, s := range c.states() {
		if s.Error != "" {
			names = append(names, s.Name+"/")
		}
	}
	return names
}

// Devices implements sys.Audit.
func (c *couriers) Devices(ctx context.Context) ([]sys.AuditDevice, error) {
	made, err := c.made(ctx)
	if err != nil {
		return nil, err
	}
	var all []sys.AuditDevice
	for _, d := range c.declared {
		all = append(all, sys.AuditDevice(d))
	}
	for _, d := range made {
		all = append(all, sys.AuditDevice(d))
	}
	return all, nil
}

// AddDevice implements sys.Audit.
func (c *couriers) AddDevice(ctx context.Context, d sys.AuditDevice) error {
	if !c.allowed {
		return fault.New(fault.Invalid, "cannot enable audit device via API; use declarative, config-based audit device management instead").
			WithHint("declare it under audit.devices, or allow this with audit.allowAPI: whoever may make devices can write files as the server")
	}
	conf := audit.DeviceConfig(d)
	if _, err := audit.OpenDevice(conf); err != nil {
		return err
	}
	text, err := json.Marshal(conf)
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

func (c *couriers) isDeclared(name string) bool {
	return slices.ContainsFunc(c.declared, func(d AuditDevice) bool { return d.Name == name })
}

// RemoveDevice implements sys.Audit.
func (c *couriers) RemoveDevice(ctx context.Context, name string) error {
	if c.isDeclared(name) {
		return fault.New(fault.Invalid, "the audit device %s/ is declared in the server's configuration: remove it there", name)
	}
	err := c.space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, name) })
	c.look()
	return err
}

// Blind implements sys.Audit.
func (c *couriers) Blind(text []byte) (string, error) { return c.blind(text) }

func (c *couriers) look() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}
