// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/goldkeep/goldkeep/internal/image"
)

// chainKey is a chain ID as images are found by it: half of it tells them apart.
func chainKey(chain image.Digest) string {
	hex := strings.TrimPrefix(string(chain), "sha256:")
	return hex[:min(len(hex), 32)]
}

// chainKeys are those of the first layer, of the first two, and so on (the OCI
// image-spec's ChainID).
func chainKeys(layers []image.Digest) []string {
	var keys []string
	chain := ""
	for i, diff := range layers {
		if i == 0 {
			chain = string(diff)
		} else {
			sum := sha256.Sum256([]byte(chain + " " + string(diff)))
			chain = "sha256:" + hex.EncodeToString(sum[:])
		}
		keys = append(keys, chainKey(image.Digest(chain)))
	}
	return keys
}
