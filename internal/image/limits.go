// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import "cmp"

const (
	kib = int64(1) << 10
	mib = kib << 10
	gib = mib << 10
)

// ratioFloor is the uncompressed size under which the ratio is not looked at:
// small layers of zeros are common and harmless.
const ratioFloor = 64 * mib

// WithDefaults returns l with every zero field set to its default.
func (l Limits) WithDefaults() Limits {
	return Limits{
		LayerBytes:   cmp.Or(l.LayerBytes, 16*gib),
		Ratio:        cmp.Or(l.Ratio, 200),
		Entries:      cmp.Or(l.Entries, 300_000),
		FileBytes:    cmp.Or(l.FileBytes, 256*mib),
		ConfigBytes:  cmp.Or(l.ConfigBytes, 4*mib),
		Layers:       cmp.Or(l.Layers, 256),
		ArchiveBytes: cmp.Or(l.ArchiveBytes, 32*gib),
	}
}
