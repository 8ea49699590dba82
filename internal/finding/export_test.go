// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

// CompareForTest orders two versions as an ecosystem does.
func CompareForTest(ecosystem, a, b string) (int, error) { return newOrder(ecosystem).compare(a, b) }
