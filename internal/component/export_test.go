// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

// The parsers of hostile text, for the fuzz tests.
var (
	SecretFactsForTest = secretFacts
	SettingForTest     = settingSecrets
)
