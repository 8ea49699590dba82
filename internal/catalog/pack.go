// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
)

// pack makes a value small for its row: JSON, gzipped.
func pack(v any) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(v); err != nil {
		return nil, fmt.Errorf("encode row: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress row: %w", err)
	}
	return b.Bytes(), nil
}

func unpack(b []byte, v any) error {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("decompress row: %w", err)
	}
	text, err := io.ReadAll(z) // to the end, where gzip's checksum is
	if err != nil {
		return fmt.Errorf("decompress row: %w", err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("decode row: %w", err)
	}
	return nil
}
