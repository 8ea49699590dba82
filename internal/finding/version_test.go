// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding_test

import (
	"os"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/finding"
)

// TestVersionOrders holds every ecosystem to its own examples: each pair of a
// chain, both ways round.
func TestVersionOrders(t *testing.T) {
	text, err := os.ReadFile("testdata/versions.txt")
	if err != nil {
		t.Fatal(err)
	}
	ecosystem := ""
	chains := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "", strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			ecosystem = strings.Trim(line, "[]")
		case strings.HasPrefix(line, "? "):
			for v := range strings.SplitSeq(line[2:], " | ") {
				if c, err := finding.CompareForTest(ecosystem, v, "1"); err == nil {
					t.Errorf("%s: %q was compared with 1 (%d); it is no version", ecosystem, v, c)
				}
			}
		default:
			chains++
			checkChain(t, ecosystem, line)
		}
	}
	if chains < 50 {
		t.Errorf("only %d chains were found", chains)
	}
}

// checkChain compares all versions of a chain with each other: rank says how many
// signs "<" stand before one.
func checkChain(t *testing.T, ecosystem, line string) {
	t.Helper()
	var versions []string
	var ranks []int
	rank := 0
	for _, word := range strings.Fields(line) {
		switch word {
		case "<":
			rank++
		case "=":
		default:
			versions = append(versions, word)
			ranks = append(ranks, rank)
		}
	}
	for i, a := range versions {
		for j, b := range versions {
			want := max(-1, min(1, ranks[i]-ranks[j]))
			if got, err := finding.CompareForTest(ecosystem, a, b); err != nil || got != want {
				t.Errorf("%s: %s to %s: got %d, %v; want %d", ecosystem, a, b, got, err, want)
			}
		}
	}
}
