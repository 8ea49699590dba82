// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Device is a place that gets a copy of every record. The log itself does not
// depend on it.
type Device interface {
	// Send returns once the lines, each with its newline, have been taken, as far
	// as the device can tell. After an error the same lines are sent again, so a
	// device may get a record twice, but never out of order.
	Send(ctx context.Context, lines [][]byte) error
	// MaxLine is the longest line it takes, in bytes; 0: any.
	MaxLine() int
	// Close gives up what it holds; Send opens it again.
	Close() error
}

// DeviceConfig describes a device. The options are those of the devices of Vault
// and OpenBao, as far as they make sense here (docs/audit.md).
type DeviceConfig struct {
	Name        string            `json:"name"` // without slashes
	Type        string            `json:"type"` // "file", "syslog", "socket"
	Description string            `json:"description,omitempty"`
	Options     map[string]string `json:"options,omitempty"`
}

// maxName bounds the name of a device, in bytes: it is part of a file name.
const maxName = 64

// OpenDevice checks a description and makes the device. Nothing is opened yet:
// a device that is not there is for the courier to say.
func OpenDevice(c DeviceConfig) (Device, error) {
	if c.Name == "" || len(c.Name) > maxName || strings.Trim(c.Name, nameBytes) != "" || strings.HasPrefix(c.Name, ".") {
		return nil, fault.New(fault.Invalid, "an audit device needs a name of letters, digits, dashes, dots and underscores, at most %d", maxName)
	}
	o := options{left: maps.Clone(c.Options)}
	var d Device
	switch c.Type {
	case "file":
		d = o.file()
	case "socket":
		d = o.socket()
	case "syslog":
		d = o.syslog()
	default:
		return nil, fault.New(fault.Invalid, "there is no audit device of type %q", c.Type).WithHint("the types are file, syslog and socket")
	}
	o.common()
	if o.err == nil && len(o.left) > 0 {
		o.refuse("there is no option %q", slices.Sorted(maps.Keys(o.left))[0])
	}
	if o.err != nil {
		return nil, fault.New(fault.Invalid, "audit device %s: %w", c.Name, o.err)
	}
	return d, nil
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

// options takes a device's options one by one; what is left is unknown.
type options struct {
	left map[string]string
	err  error
}

func (o *options) refuse(format string, args ...any) {
	if o.err == nil {
		o.err = fault.New(fault.Invalid, format, args...)
	}
}

func (o *options) text(name, otherwise string) string {
	v, ok := o.left[name]
	delete(o.left, name)
	if !ok || v == "" {
		return otherwise
	}
	return v
}

func (o *options) needed(name string) string {
	v := o.text(name, "")
	if v == "" {
		o.refuse("%s is missing", name)
	}
	return v
}

func (o *options) oneOf(name string, allowed ...string) string {
	v := o.text(name, allowed[0])
	if !slices.Contains(allowed, v) {
		o.refuse("%s must be one of %s", name, strings.Join(allowed, ", "))
	}
	return v
}

func (o *options) duration(name string, otherwise time.Duration) time.Duration {
	v := o.text(name, "")
	if v == "" {
		return otherwise
	}
	if n, err := strconv.Atoi(v); err == nil {
		v = strconv.Itoa(n) + "s"
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 || d > time.Minute {
		o.refuse("%s must be a time up to 1m, such as 2s", name)
	}
	return d
}

// common takes the options every device of Vault and OpenBao has. What would
// write secrets in clear is refused; the rest is so already, or has no meaning
// for records that hold no answers.
func (o *options) common() {
	o.oneOf("format", "json")
	if raw := o.text("log_raw", "false"); raw != "false" {
		o.refuse("log_raw is not offered: secrets never stand in the audit in clear")
	}
	o.text("hmac_accessor", "")
	o.text("elide_list_responses", "")
	o.text("fallback", "")
}

// standIn takes the place of a record that is too long for a device.
func standIn(line []byte, limit int) []byte {
	rec, _ := decode(line[:len(line)-1])
	short, _ := json.Marshal(map[string]any{ // numbers and texts always marshal
		"seq": rec.Seq, "hash": rec.Hash, "kind": "left out",
		"reason": "the record has " + strconv.Itoa(len(line)) + " bytes, this device takes " + strconv.Itoa(limit),
	})
	return append(short, '\n')
}
