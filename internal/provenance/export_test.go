// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance

import "encoding/json"

// Careless signs whatever it is given: what a Key refuses to do.
type Careless struct{ *Key }

// Sign implements Signing.
func (c Careless) Sign(s *Statement) ([]byte, error) {
	payload, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	sig, err := c.sign(encoding(payload))
	if err != nil {
		return nil, err
	}
	return writeBundle(payload, sig, c.Public().Hint())
}
