// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cert

import "crypto/x509"

// Private is what a login keeps with its token.
func Private(entry string, leaf *x509.Certificate) map[string]string {
	return map[string]string{"entry": entry, "key": keyOf(leaf)}
}
