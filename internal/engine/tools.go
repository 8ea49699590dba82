// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Tools are the routes for random bytes and hashes, below a folder ("" or
// "tools/").
func Tools(folder string) []Route {
	return []Route{
		{Path: folder + "random", Ops: Ops{Write: random}, Help: "Random bytes.", Takes: "bytes:integer format source"},
		{Path: folder + "random/{urlbytes}", Ops: Ops{Write: random}, Help: "So many random bytes, or from this source.", Takes: "bytes:integer format source"},
		{Path: folder + "random/{source}/{urlbytes}", Ops: Ops{Write: random}, Help: "So many random bytes from this source.", Takes: "bytes:integer format"},
		{Path: folder + "hash", Ops: Ops{Write: digest}, Help: "A hash of the input.", Takes: "input algorithm format"},
		{Path: folder + "hash/{urlalgorithm}", Ops: Ops{Write: digest}, Help: "A hash of the input.", Takes: "input algorithm format"},
	}
}

// sources are the names of the one source of random bytes.
var sources = map[string]bool{"platform": true, "seal": true, "all": true}

// maxRandom is the most random bytes one call gives.
const maxRandom = 128 << 10

// random answers random bytes. The path may name the source (there is one, under
// three names) and how many.
func random(_ context.Context, req *Request, v Vars) (*Response, error) {
	f := Read(req)
	n, format, source, count := f.Int("bytes", 32), f.Text("format"), v["source"], v["urlbytes"]
	if sources[count] && source == "" {
		source, count = count, ""
	}
	if source == "" {
		source = f.Text("source")
	}
	if count != "" {
		var err error
		if n, err = strconv.Atoi(count); err != nil {
			return nil, fault.New(fault.Invalid, "error parsing url-set byte count: %w", err)
		}
	}
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case n < 1:
		return nil, fault.New(fault.Invalid, `"bytes" cannot be less than 1`)
	case n > maxRandom:
		return nil, fault.New(fault.Invalid, `"bytes" should be less than %d`, maxRandom)
	case source != "" && !sources[source]:
		return nil, fault.New(fault.Invalid, `unsupported entropy source %q; must be "platform" or "seal", or "all"`, source)
	}
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	text, err := encode(b, format, "base64", "%q")
	if err != nil {
		return nil, err
	}
	resp := &Response{Data: map[string]string{"random_bytes": text}}
	if source == "seal" {
		resp.Warnings = []string{"no seal/entropy augmentation available, using platform entropy source"}
	}
	return resp, nil
}

// encode writes bytes in a format; quote is how the error names an unknown one.
func encode(b []byte, format, fallback, quote string) (string, error) {
	if format == "" {
		format = fallback
	}
	switch format {
	case "hex":
		return hex.EncodeToString(b), nil
	case "base64":
		return base64.StdEncoding.EncodeToString(b), nil
	}
	return "", fault.New(fault.Invalid, "unsupported encoding format "+quote+`; must be "hex" or "base64"`, format)
}

var hashes = map[string]func() hash.Hash{
	"":         sha256.New,
	"sha2-224": sha256.New224, "sha2-256": sha256.New, "sha2-384": sha512.New384, "sha2-512": sha512.New,
	"sha3-224": func() hash.Hash { return sha3.New224() }, "sha3-256": func() hash.Hash { return sha3.New256() },
	"sha3-384": func() hash.Hash { return sha3.New384() }, "sha3-512": func() hash.Hash { return sha3.New512() },
}

func digest(_ context.Context, req *Request, v Vars) (*Response, error) {
	f := Read(req)
	name := v["urlalgorithm"]
	if name == "" {
		name = f.Text("algorithm")
	}
	if !f.Has("input") && !strings.HasPrefix(req.Path, "tools/") { // there, nothing has always had a hash
		return nil, fault.New(fault.Invalid, "input missing")
	}
	input, err := base64.StdEncoding.DecodeString(f.Text("input"))
	if err != nil {
		return nil, fault.New(fault.Invalid, "unable to decode input as base64: %w", err)
	}
	build := hashes[name]
	if build == nil {
		return nil, fault.New(fault.Invalid, "unsupported algorithm %s", name)
	}
	h := build()
	_, _ = h.Write(input) // a hash never fails
	text, err := encode(h.Sum(nil), f.Text("format"), "hex", "%s")
	if err != nil {
		return nil, err
	}
	return &Response{Data: map[string]string{"sum": text}}, f.Err()
}
