// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys_test

import (
	"math"
	"testing"

	"github.com/goldkeep/goldkeep/internal/engine/sys"
)

// FuzzParseRate: whatever is taken for a rate can be counted with.
func FuzzParseRate(f *testing.F) {
	for _, text := range []string{"1", " 16.7 ", "0", "-1", "NaN", "Inf", "1e309", "0x1p-1074", "1e-400", "1_000", "", "٣"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if rate, err := sys.ParseRate(text); err == nil && (math.IsNaN(rate) || math.IsInf(rate, 0) || rate <= 0 || rate > 1e9) {
			t.Errorf("%q is the rate %v", text, rate)
		}
	})
}
