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

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Tools are the routes for random bytes and hashes, below a folder ("" or
// "tools/").
func Tools(folder string) []Route {
	return []Route{
		{Path: folder + "random", Ops: Ops{Write: random}},
		{Path: folder + "random/{first}", Ops: Ops{Write: random}},
		{Path: folder + "random/{first}/{second}", Ops: Ops{Write: random}},
		{Path: folder + "hash", Ops: Ops{Write: digest}},
		{Path: folder + "hash/{algorithm}", Ops: Ops{Write: digest}},
	}
}

// maxRandom is the most random bytes one call gives.
const maxRandom = 128 << 10

// random answers random bytes. The path may name the source (there is one, under
// three names) and how many.
func random(_ context.Context, req *Request, v Vars) (*Response, error) {
	f := Read(req)
	n, format := f.Int("bytes", 32), f.Text("format")
	for _, name := range []string{"first", "second"} {
		switch v[name] {
		case "", "platform", "seal", "all":
		default:
			count, err := strconv.Atoi(v[name])
			if err != nil {
				return nil, fault.New(fault.Invalid, "unsupported entropy source %q", v[name])
			}
			n = count
		}
	}
	if f.Err() != nil {
		return nil, f.Err()
	}
	if n < 1 || n > maxRandom {
		return nil, fault.New(fault.Invalid, "bytes must be from 1 to %d", maxRandom)
	}
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	text, err := encode(b, format, "base64")
	if err != nil {
		return nil, err
	}
	return &Response{Data: map[string]string{"random_bytes": text}}, nil
}

func encode(b []byte, format, fallback string) (string, error) {
	if format == "" {
		format = fallback
	}
	switch format {
	case "hex":
		return hex.EncodeToString(b), nil
	case "base64":
		return base64.StdEncoding.EncodeToString(b), nil
	}
	return "", fault.New(fault.Invalid, "format must be \"hex\" or \"base64\"")
}

var hashes = map[string]func() hash.Hash{
	"":         sha256.New,
	"sha2-224": sha256.New224, "sha2-256": sha256.New, "sha2-384": sha512.New384, "sha2-512": sha512.New,
	"sha3-224": func() hash.Hash { return sha3.New224() }, "sha3-256": func() hash.Hash { return sha3.New256() },
	"sha3-384": func() hash.Hash { return sha3.New384() }, "sha3-512": func() hash.Hash { return sha3.New512() },
}

func digest(_ context.Context, req *Request, v Vars) (*Response, error) {
	f := Read(req)
	name := v["algorithm"]
	if name == "" {
		name = f.Text("algorithm")
	}
	input, err := base64.StdEncoding.DecodeString(f.Text("input"))
	if err != nil {
		return nil, fault.New(fault.Invalid, "input must be base64")
	}
	build := hashes[name]
	if build == nil {
		return nil, fault.New(fault.Invalid, "unsupported algorithm %q", name)
	}
	h := build()
	_, _ = h.Write(input) // a hash never fails
	text, err := encode(h.Sum(nil), f.Text("format"), "hex")
	if err != nil {
		return nil, err
	}
	return &Response{Data: map[string]string{"sum": text}}, f.Err()
}
