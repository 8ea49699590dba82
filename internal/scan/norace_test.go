// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package scan_test

const raced = false
