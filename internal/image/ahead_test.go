// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"testing"
	"testing/iotest"

	"github.com/goldkeep/goldkeep/internal/image"
)

func TestReadingAheadGivesTheSame(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	broken := errors.New("broken")
	for _, size := range []int{0, 1, image.AheadBytes - 1, image.AheadBytes, image.AheadBytes + 1, 9*image.AheadBytes + 7} {
		data := make([]byte, size)
		r.Read(data)
		for name, from := range map[string]io.Reader{
			"at once": bytes.NewReader(data), "in halves": iotest.HalfReader(bytes.NewReader(data)), "with its end": iotest.DataErrReader(bytes.NewReader(data)),
			"failing": io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)),
		} {
			plain, end := image.ReadAhead(from)
			got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(plain, 5)))
			rest, failure := io.ReadAll(plain)
			if got = append(got, rest...); !bytes.Equal(got, data) || err != nil && name != "failing" || (name == "failing") != errors.Is(failure, broken) {
				t.Errorf("%d bytes %s: %d read, %v, %v", size, name, len(got), err, failure)
			}
			if _, err := plain.Read(make([]byte, 1)); err == nil {
				t.Errorf("%d bytes %s: it goes on behind its end", size, name)
			}
			end()
		}
	}
}

// TestReadingAheadEndsWhenNobodyReads: what is left unread keeps nobody waiting.
func TestReadingAheadEndsWhenNobodyReads(t *testing.T) {
	for _, read := range []int64{0, 10, 5 * image.AheadBytes} {
		plain, end := image.ReadAhead(rand.New(rand.NewSource(2))) // never ends
		if _, err := io.CopyN(io.Discard, plain, read); err != nil {
			t.Fatal(err)
		}
		end()
	}
}
