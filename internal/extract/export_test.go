// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import "bytes"

// The parsers of hostile text, for the fuzz tests.
var (
	FunctionNamesForTest = functionNames
	PackageOfForTest     = packageOf
	GoPackagesForTest    = goPackages
)

// RustForTest reads a record of cargo-auditable.
func RustForTest(packed []byte) []Package {
	found, err := rustRecord(bytes.NewReader(packed))
	if err != nil {
		return nil
	}
	return found
}
