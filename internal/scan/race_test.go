// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package scan_test

// The race detector's own memory is several times that of the program.
const raced = true
