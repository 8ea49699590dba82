// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import "io"

// ReadConfigForTest lets the fuzz test reach the config reader.
func ReadConfigForTest(data []byte) (*Image, error) {
	img := &Image{}
	_, err := readConfig(img, data, Limits{}.WithDefaults())
	return img, err
}

// AheadBytes is the size of a block that is read ahead.
const AheadBytes = aheadBytes

// ReadAhead reads ahead of the reader it returns, until end is called.
func ReadAhead(from io.Reader) (plain io.Reader, end func()) {
	a := readAhead(from)
	return a, a.close
}
