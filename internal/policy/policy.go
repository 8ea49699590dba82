// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package policy decides whether a subject may do something to a path. It is
// pure: values in, a decision with its reason out. The language is the HCL (or
// JSON) that users of Vault and OpenBao write.
package policy

// Capability is one thing that can be done to a path.
type Capability string

// The capabilities, named as in the policy language.
const (
	Create Capability = "create"
	Read   Capability = "read"
	Update Capability = "update"
	Patch  Capability = "patch"
	Delete Capability = "delete"
	List   Capability = "list"
	Scan   Capability = "scan"
	Sudo   Capability = "sudo"
	Deny   Capability = "deny"
)
