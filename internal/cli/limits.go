// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/image"
)

// addLimitFlags offers the limits on what one image may cost.
func addLimitFlags(cmd *cobra.Command, l *image.Limits) {
	*l = l.WithDefaults()
	f := cmd.Flags()
	f.Var((*size)(&l.LayerBytes), "max-layer", "limit: one layer, uncompressed")
	f.Int64Var(&l.Ratio, "max-ratio", l.Ratio, "limit: uncompressed by compressed size of a layer")
	f.IntVar(&l.Entries, "max-entries", l.Entries, "limit: files of one layer")
	f.Var((*size)(&l.FileBytes), "max-file", "limit: one file that is read whole")
	f.Var((*size)(&l.ConfigBytes), "max-config", "limit: a manifest, index or configuration")
	f.IntVar(&l.Layers, "max-layers", l.Layers, "limit: layers")
	f.Var((*size)(&l.ArchiveBytes), "max-archive", "limit: an archive that must be copied to a temporary file")
}

// size is a number of bytes, written as 1048576, 512KiB, 256MiB or 16GiB.
type size int64

var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// String returns the shortest exact form.
func (s *size) String() string {
	for _, u := range units {
		if n := int64(*s); n > 0 && n%u.bytes == 0 {
			return fmt.Sprint(n/u.bytes) + u.name
		}
	}
	return fmt.Sprint(int64(*s))
}

// Set reads a size.
func (s *size) Set(text string) error {
	factor := int64(1)
	number := text
	for _, u := range units {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, factor = n, u.bytes
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n <= 0 || n > (1<<62)/factor {
		return fmt.Errorf("write a number of bytes, as in 1048576, 256MiB or 16GiB")
	}
	*s = size(n * factor)
	return nil
}

// Type names the value in help texts.
func (s *size) Type() string { return "size" }
