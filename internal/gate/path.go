// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// The texts clients look for.
var (
	errDenied = fault.New(fault.Denied, "permission denied")
	// ErrNotAllowed is what the holder of a good token gets where its policies do
	// not allow what is asked; the wire tells it apart from a bad token.
	ErrNotAllowed = fault.New(fault.Denied, "permission denied")
	errSealed     = fault.New(fault.Sealed, "Vault is sealed").WithHint("unseal the server: goldkeep operator unseal")
)

// sealedOr gives every error that means "sealed" the text clients look for: the
// barrier may be sealed while a request is on its way.
func sealedOr(err error) error {
	if err != nil && fault.Is(err, fault.Sealed) {
		return errSealed
	}
	return err
}

// maxPath bounds the length of a path in bytes.
const maxPath = 1024

// checkPath refuses paths that could mean different things to different
// readers: they are compared with policies as they are, and nobody cleans them.
func checkPath(path string) error {
	switch {
	case path == "":
		return fault.New(fault.NotFound, "no handler for route %q. route entry not found.", path)
	case len(path) > maxPath:
		return fault.New(fault.Invalid, "the path is over %d bytes", maxPath)
	case path[0] == '/' || strings.Contains(path, "//"):
		return fault.New(fault.Invalid, "the path has an empty segment")
	case strings.Contains(path, ".."):
		return fault.New(fault.Invalid, "relative paths not supported")
	}
	for i := range len(path) {
		if c := path[i]; c < 0x20 || c >= 0x7f {
			return checkUnicode(path)
		}
	}
	return nil
}

func checkUnicode(path string) error {
	if !utf8.ValidString(path) {
		return fault.New(fault.Invalid, "the path is not UTF-8")
	}
	for _, r := range path {
		if !unicode.IsPrint(r) {
			return fault.New(fault.Invalid, "path cannot contain non-printable characters")
		}
	}
	return nil
}

// newID makes a request id, in the form of a random UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var text [36]byte
	hex.Encode(text[:8], b[:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:], b[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
