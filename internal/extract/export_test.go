// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

// The parsers of hostile text, for the fuzz tests.
var (
	FunctionNamesForTest = functionNames
	PackageOfForTest     = packageOf
	GoPackagesForTest    = goPackages
)
