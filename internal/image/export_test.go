// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

// ReadConfigForTest lets the fuzz test reach the config reader.
func ReadConfigForTest(data []byte) (*Image, error) {
	img := &Image{}
	_, err := readConfig(img, data, Limits{}.WithDefaults())
	return img, err
}
