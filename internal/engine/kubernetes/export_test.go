// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kubernetes

import "time"

// ReadToken reads a token for a role that lets everybody in.
func ReadToken(token string) error {
	_, err := (&config{AnyIssuer: true}).read(token, &role{Accounts: []string{"*"}, Namespaces: []string{"*"}}, time.Unix(1_800_000_000, 0))
	return err
}
