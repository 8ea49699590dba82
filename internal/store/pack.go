// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// maxRow bounds one row, unpacked: far more than any image says.
const maxRow = 512 << 20

// packers are made once: both may be used by several goroutines.
var (
	packer   = sync.OnceValues(func() (*zstd.Encoder, error) { return zstd.NewWriter(nil) })
	unpacker = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxRow), zstd.WithDecoderConcurrency(0))
	})
)

// Pack makes a value small for its row: JSON, compressed, with a checksum.
func Pack(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode row: %w", err)
	}
	return Compress(text)
}

// Compress is Pack for what is text already.
func Compress(text []byte) ([]byte, error) {
	z, err := packer()
	if err != nil {
		return nil, fmt.Errorf("compress row: %w", err)
	}
	return z.EncodeAll(text, make([]byte, 0, len(text)/3+64)), nil
}

// Unpack is the reverse of Pack. A damaged row is an error.
func Unpack(b []byte, v any) error {
	z, err := unpacker()
	if err != nil {
		return fmt.Errorf("decompress row: %w", err)
	}
	text, err := z.DecodeAll(b, nil)
	if err != nil {
		return fmt.Errorf("decompress row: %w", err)
	}
	if err := decode(text, v); err != nil {
		return fmt.Errorf("decode row: %w", err)
	}
	return nil
}
