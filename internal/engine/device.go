// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import "context"

// AuditDevice is a place that gets copies of the audit log.
type AuditDevice struct {
	Name        string // without the slash at its end
	Type        string // "file", "syslog", "socket"
	Description string
	Options     map[string]string
}

// AuditDevices is what sys asks about audit devices.
type AuditDevices interface {
	// Devices lists those of the configuration and those made through the API.
	Devices(ctx context.Context) ([]AuditDevice, error)
	// AddDevice makes one; fault.Conflict: there is one of that name. It refuses
	// (fault.Invalid) unless the configuration allows it.
	AddDevice(ctx context.Context, d AuditDevice) error
	// RemoveDevice removes one made through the API; removing nothing is fine.
	RemoveDevice(ctx context.Context, name string) error
	// Blind gives a text as it stands in the audit log.
	Blind(text []byte) (string, error)
}
