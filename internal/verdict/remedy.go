// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// shownUpgrades bounds how many upgrades one remedy names.
const shownUpgrades = 3

// upgrade is a package and the version that clears its findings.
type upgrade struct {
	name   string
	to     string // the highest of the lowest fixed versions
	clears int
	system bool // comes with the operating system
	layer  int
}

// remedy is the shortest way out: which few upgrades clear how many findings.
func remedy(breaches []breach, system string) string {
	ups, unfixed := upgrades(breaches, system)
	var parts []string
	rebuild := false
	for i, u := range ups {
		if i == shownUpgrades {
			break
		}
		part := u.name + " to " + u.to
		if len(breaches) > 1 {
			part += fmt.Sprintf(" (clears %d of %d)", u.clears, len(breaches))
		}
		parts = append(parts, part)
		rebuild = rebuild || u.system && u.layer == 0
	}
	text := ""
	if len(parts) > 0 {
		text = "upgrade " + strings.Join(parts, ", ")
	}
	if more := len(ups) - shownUpgrades; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if rebuild {
		text += "; rebuild on the newest version of the base image"
	}
	switch {
	case unfixed > 0 && text == "":
		text = "no fixed version is published yet: remove or replace the package, or triage the finding with a reason"
	case unfixed > 0:
		text += fmt.Sprintf("; %d without a fix: remove the package, or triage with a reason", unfixed)
	}
	return text
}

// rebase is the way out by a golden image that has moved on since.
func rebase(o Origin) string {
	if o.Newest == "" {
		return ""
	}
	return "; " + o.Golden + " " + o.Channel + " is " + o.Newest + " now: rebuild on it"
}

// upgrades groups findings by package, those that clear most first, and counts
// the findings nothing fixes.
func upgrades(breaches []breach, system string) (ups []upgrade, unfixed int) {
	groups := map[string]*upgrade{}
	for _, b := range breaches {
		f := b.finding
		if f.Fixed == "" {
			unfixed++
			continue
		}
		key := f.Ecosystem + "\x00" + f.Package
		u := groups[key]
		if u == nil {
			u = &upgrade{name: f.Package, to: f.Fixed, layer: f.LayerIndex, system: system != "" && f.Ecosystem == system}
			groups[key] = u
		}
		u.clears++
		u.layer = min(u.layer, f.LayerIndex)
		if compareVersions(f.Fixed, u.to) > 0 {
			u.to = f.Fixed
		}
	}
	for _, u := range groups {
		ups = append(ups, *u)
	}
	slices.SortFunc(ups, func(a, b upgrade) int {
		return cmp.Or(cmp.Compare(b.clears, a.clears), cmp.Compare(a.name, b.name), cmp.Compare(a.to, b.to))
	})
	return ups, unfixed
}

// compareVersions orders versions for people to read: an epoch first, then runs
// of digits as numbers and the rest as text, '~' before everything. It is the
// order of Debian and near enough to the others to name the newest of several
// fixes; no judgement depends on it.
func compareVersions(a, b string) int {
	epochA, a := cutEpoch(a)
	epochB, b := cutEpoch(b)
	if n := compareNumbers(epochA, epochB); n != 0 {
		return n
	}
	for a != "" || b != "" {
		var textA, textB, numA, numB string
		textA, a = cutRun(a, false)
		textB, b = cutRun(b, false)
		if n := compareText(textA, textB); n != 0 {
			return n
		}
		numA, a = cutRun(a, true)
		numB, b = cutRun(b, true)
		if n := compareNumbers(numA, numB); n != 0 {
			return n
		}
	}
	return 0
}

func cutEpoch(version string) (epoch, rest string) {
	if before, after, found := strings.Cut(version, ":"); found {
		return before, after
	}
	return "0", version
}

// cutRun cuts the leading digits, or the leading rest, off a version.
func cutRun(version string, digits bool) (run, rest string) {
	i := 0
	for i < len(version) && (version[i] >= '0' && version[i] <= '9') == digits {
		i++
	}
	return version[:i], version[i:]
}

func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// compareText orders '~' before the end, the end before letters, and letters
// before other signs.
func compareText(a, b string) int {
	for i := range max(len(a), len(b)) {
		if n := cmp.Compare(signRank(a, i), signRank(b, i)); n != 0 {
			return n
		}
	}
	return 0
}

func signRank(text string, i int) int {
	if i >= len(text) {
		return 0
	}
	switch c := text[i]; {
	case c == '~':
		return -1
	case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		return int(c)
	default:
		return int(c) + 256
	}
}
