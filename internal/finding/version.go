// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/google/osv-scalibr/semantic"

	"github.com/goldkeep/goldkeep/internal/advisory"
)

// maxVersion bounds a version: comparing is not linear in its length.
const maxVersion = 256

// ordered reports whether versions of an ecosystem can be compared.
func ordered(ecosystem string) bool {
	family := advisory.Family(ecosystem)
	_, err := semantic.Parse("1", cmp.Or(rules[family], family))
	return !errors.Is(err, semantic.ErrUnsupportedEcosystem)
}

// order compares versions the way one ecosystem does. It is for one goroutine.
type order struct {
	family string
	rules  string                      // the family the library knows
	parsed map[string]semantic.Version // the installed versions, each compared with many
}

func newOrder(ecosystem string) order {
	family := advisory.Family(ecosystem)
	return order{family: family, rules: cmp.Or(rules[family], family), parsed: map[string]semantic.Version{}}
}

// compare returns -1, 0 or 1. A version that is not understood is an error, never
// "equal": the caller must not mistake it for "not affected".
func (o order) compare(a, b string) (c int, err error) {
	for _, v := range []string{a, b} {
		if !o.understands(v) {
			return 0, fmt.Errorf("version %q not understood", clip(v))
		}
	}
	defer func() {
		// The library parses what images claim; a fault of its own is a gap here.
		if r := recover(); r != nil {
			err = fmt.Errorf("compare versions %q and %q: not understood", clip(a), clip(b))
		}
	}()
	va, known := o.parsed[a]
	if !known {
		if va, err = semantic.Parse(spelled(o.family, a), o.rules); err != nil {
			return 0, fmt.Errorf("version %q not understood", clip(a))
		}
		o.parsed[a] = va
	}
	if c, err = va.CompareStr(spelled(o.family, b)); err != nil {
		return 0, fmt.Errorf("version %q not understood", clip(b))
	}
	return c, nil
}

// understands refuses what the library would take for some version or other.
func (o order) understands(v string) bool {
	if v == "" || len(v) > maxVersion || !strings.ContainsAny(v, "0123456789") {
		return false
	}
	if strings.ContainsFunc(v, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r > unicode.MaxASCII }) {
		return false
	}
	if grammar := grammars()[o.family]; grammar != nil {
		return grammar.MatchString(v)
	}
	switch o.family {
	case "SwiftURL", "Bitnami", "ConanCenter", "Julia", "Pub":
		digit := strings.TrimPrefix(v, "v")
		return digit != "" && digit[0] >= '0' && digit[0] <= '9'
	}
	return true
}

func clip(v string) string {
	if len(v) > 64 {
		return strings.ToValidUTF8(v[:64], "") + "..."
	}
	return v
}

// toolchain is a version as the Go toolchain writes it: "go1.26rc1".
var toolchain = regexp.MustCompile(`^(?:go)?(\d+)\.(\d+)(?:\.(\d+))?(?:(alpha|beta|rc)(\d+))?(?: .*)?$`)

// stdlibVersion writes a toolchain's version as advisories do: "1.26.0-rc.1".
func stdlibVersion(v string) string {
	m := toolchain.FindStringSubmatch(v)
	if m == nil {
		return v
	}
	patch := m[3]
	if patch == "" {
		patch = "0"
	}
	out := m[1] + "." + m[2] + "." + patch
	if m[4] != "" {
		out += "-" + m[4] + "." + m[5]
	}
	return out
}

// judgement is what one affected entry says of one version.
type judgement struct {
	hit   bool
	fixed string // lowest fixed version above, over the ranges that hold the version
	why   string
}

// judge decides whether an entry affects version. GIT ranges are passed over, one
// by one. An error means that it cannot be told; a hit found elsewhere in the
// entry stands all the same.
func (o order) judge(version string, a advisory.Affected) (judgement, error) {
	var out judgement
	var trouble error
	usable := len(a.Versions) > 0
	for _, r := range a.Ranges {
		if r.Type == "GIT" {
			continue
		}
		usable = true
		in, err := o.within(version, r)
		if err != nil {
			trouble = err
			continue
		}
		if !in {
			continue
		}
		fixed, err := o.nextFix(version, r)
		if err != nil {
			trouble = err
		}
		if !out.hit || (fixed != "" && o.lower(fixed, out.fixed)) {
			out.fixed = fixed
			out.why = explain(version, fixed)
		}
		out.hit = true
	}
	if out.hit {
		return out, nil
	}
	if o.listed(version, a.Versions) {
		return judgement{hit: true, why: version + " is in the advisory's list of affected versions"}, nil
	}
	if !usable {
		return judgement{}, errors.New("the advisory names commits only, no versions")
	}
	return judgement{}, trouble
}

func explain(version, fixed string) string {
	if fixed == "" {
		return version + " is in an affected range that has no fix"
	}
	return version + " is below the fixed " + fixed
}

// lower reports whether a comes before b; an empty b is above all.
func (o order) lower(a, b string) bool {
	if b == "" {
		return true
	}
	c, err := o.compare(a, b)
	return err == nil && c < 0
}

// within evaluates a range as the OSV schema says ("Evaluation algorithm"): the
// events in order of their versions turn "affected" on and off.
func (o order) within(version string, r advisory.Range) (bool, error) {
	var limits []string
	var marks []mark
	for _, e := range r.Events {
		switch {
		case e.Limit != "":
			limits = append(limits, e.Limit)
		case e.Introduced != "":
			marks = append(marks, mark{e.Introduced, introduced})
		case e.Fixed != "":
			marks = append(marks, mark{e.Fixed, fixed})
		case e.LastAffected != "":
			marks = append(marks, mark{e.LastAffected, lastAffected})
		}
	}
	if ok, err := o.underLimits(version, limits); err != nil || !ok {
		return false, err
	}
	if err := o.sort(marks); err != nil {
		return false, err
	}
	affected := false
	for _, m := range marks {
		c, err := o.versus(version, m)
		if err != nil {
			return false, err
		}
		switch {
		case m.kind == introduced && c >= 0:
			affected = true
		case m.kind == fixed && c >= 0, m.kind == lastAffected && c > 0:
			affected = false
		}
	}
	return affected, nil
}

// underLimits: at least one limit is above the version, or there is none.
func (o order) underLimits(version string, limits []string) (bool, error) {
	for _, limit := range limits {
		if limit == "*" {
			return true, nil
		}
		c, err := o.compare(version, limit)
		if err != nil {
			return false, err
		}
		if c < 0 {
			return true, nil
		}
	}
	return len(limits) == 0, nil
}

// mark is an event on the line of versions.
type mark struct {
	version string
	kind    int
}

// The kinds of mark, in the order they take effect at one version: what is fixed
// and introduced again by the same version is affected.
const (
	fixed = iota
	introduced
	lastAffected
)

// versus compares a version with a mark. "introduced: 0" is below everything,
// also below the pre-releases and pseudo-versions of 0.0.0.
func (o order) versus(version string, m mark) (int, error) {
	if m.kind == introduced && m.version == "0" {
		if !o.understands(version) {
			return 0, fmt.Errorf("version %q not understood", clip(version))
		}
		return 1, nil
	}
	return o.compare(version, m.version)
}

func (o order) sort(marks []mark) error {
	var trouble error
	slices.SortStableFunc(marks, func(a, b mark) int {
		zeroA, zeroB := a.kind == introduced && a.version == "0", b.kind == introduced && b.version == "0"
		switch {
		case zeroA && zeroB:
			return 0
		case zeroA:
			return -1
		case zeroB:
			return 1
		}
		c, err := o.compare(a.version, b.version)
		if err != nil {
			trouble = err
		}
		if c == 0 {
			return a.kind - b.kind
		}
		return c
	})
	return trouble
}

// nextFix returns the lowest fixed version of the range above version.
func (o order) nextFix(version string, r advisory.Range) (string, error) {
	best := ""
	for _, e := range r.Events {
		if e.Fixed == "" {
			continue
		}
		c, err := o.compare(version, e.Fixed)
		if err != nil {
			return best, err
		}
		if c < 0 && o.lower(e.Fixed, best) {
			best = e.Fixed
		}
	}
	return best, nil
}

// listed reports whether version is one of the list. Python writes one version
// in many ways; elsewhere the letters count.
func (o order) listed(version string, list []string) bool {
	if slices.Contains(list, version) {
		return true
	}
	if o.family != "PyPI" {
		return false
	}
	release := releaseOf(version)
	return slices.ContainsFunc(list, func(v string) bool {
		if releaseOf(v) != release {
			return false
		}
		c, err := o.compare(version, v)
		return err == nil && c == 0
	})
}

// releaseOf returns the leading numbers of a Python version in one spelling: "1"
// for "v1.0", "1.00.0rc1" and "1". Lists are long and comparing is slow, so most
// of a list is passed over by this.
func releaseOf(v string) string {
	if _, rest, epoch := strings.Cut(v, "!"); epoch {
		v = rest
	}
	v = strings.TrimLeft(strings.TrimSpace(v), "vV")
	if end := strings.IndexFunc(v, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); end >= 0 {
		v = v[:end]
	}
	parts := strings.Split(strings.TrimSuffix(v, "."), ".")
	for i, p := range parts {
		parts[i] = strings.TrimLeft(p, "0")
	}
	for len(parts) > 1 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	return strings.Join(parts, ".")
}
