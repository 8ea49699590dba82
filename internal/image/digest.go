// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// digestPrefix is the only algorithm Goldkeep accepts: SHA-512 digests are legal
// in the OCI specification, yet no registry in use hands them out.
const digestPrefix = "sha256:"

// ParseDigest reads "sha256:" and 64 lower-case hex digits. Anything else is
// fault.Invalid: a digest becomes part of a path, so it is checked before use.
func ParseDigest(s string) (Digest, error) {
	text, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(text) != 2*sha256.Size || strings.Trim(text, "0123456789abcdef") != "" {
		return "", fault.New(fault.Invalid, "read digest %.80q: malformed digest", s).
			WithHint("a digest is sha256: and 64 lower-case hexadecimal digits")
	}
	return Digest(s), nil
}

// Hex returns the hexadecimal part of a valid digest.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), digestPrefix) }

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(digestPrefix + hex.EncodeToString(sum[:]))
}

func digestOfHash(h hash.Hash) Digest {
	return Digest(digestPrefix + hex.EncodeToString(h.Sum(nil)))
}

// chainID is the OCI "Layer ChainID" of layers, lowest first.
func chainID(diffIDs []Digest) Digest {
	if len(diffIDs) == 0 {
		return ""
	}
	chain := diffIDs[0]
	for _, d := range diffIDs[1:] {
		chain = DigestOf([]byte(string(chain) + " " + string(d)))
	}
	return chain
}
