// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

// APIVersion is the release of Vault whose API /v1 says it speaks: what seal-status,
// health and ha-status tell as "version". Clients decide by it what to ask for: the
// Terraform provider stops at anything that is not strict SemVer, and leaves fields
// out where it is too low. Nothing is appended to it, since many clients cut it at
// its dots. It is as high as /v1 goes without an edition nobody has here: raise it
// only after reading what clients ask of the next one.
const APIVersion = "1.19.0"
