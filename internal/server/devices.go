// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/engine"
)

// AuditDevice declares a place that gets copies of the audit log.
type AuditDevice struct {
	Name        string            `yaml:"name"`
	Type        string            `yaml:"type"` // file, syslog or socket
	Description string            `yaml:"description"`
	Options     map[string]string `yaml:"options"`
}

func (s *Server) newCouriers() *audit.Couriers {
	var declared []audit.DeviceConfig
	for _, d := range s.config.Audit.Devices {
		declared = append(declared, audit.DeviceConfig(d))
	}
	return audit.NewCouriers(audit.CouriersOptions{
		Log: s.audit, Path: s.config.Audit.File, Declared: declared, AllowAPI: s.config.Audit.AllowAPI, Space: s.barrier.Space().Sub("audit-device"),
	})
}

// auditDevices are the couriers as package engine wants them.
type auditDevices struct{ s *Server }

// Devices implements engine.AuditDevices.
func (a auditDevices) Devices(ctx context.Context) (all []engine.AuditDevice, err error) {
	have, err := a.s.couriers.Devices(ctx)
	for _, d := range have {
		all = append(all, engine.AuditDevice(d))
	}
	return all, err
}

// AddDevice implements engine.AuditDevices.
func (a auditDevices) AddDevice(ctx context.Context, d engine.AuditDevice) error {
	return a.s.couriers.AddDevice(ctx, audit.DeviceConfig(d))
}

// RemoveDevice implements engine.AuditDevices.
func (a auditDevices) RemoveDevice(ctx context.Context, name string) error {
	return a.s.couriers.RemoveDevice(ctx, name)
}

// Blind implements engine.AuditDevices.
func (a auditDevices) Blind(text []byte) (string, error) { return a.s.gate.Blind(text) }
