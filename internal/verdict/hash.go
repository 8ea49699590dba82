// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
)

// precision of every time in a verdict.
const precision = time.Millisecond

func exact(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(precision)
}

// hashOf returns "sha256:..." of a value's JSON. Struct fields come in the order
// of the type and map keys sorted, so equal values have equal hashes.
func hashOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		// Cannot be: canonical has replaced NaN and infinite scores.
		text = []byte("not representable: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// canonical returns the evidence with every list sorted and every time in UTC to
// the millisecond, sharing nothing with the original that is written to. Lists
// that mean the same empty or missing are made empty; Channels and Signatures
// keep the difference.
func canonical(ev Evidence) Evidence {
	ev.Image.Created, ev.SnapshotAt = exact(ev.Image.Created), exact(ev.SnapshotAt)
	ev.Image.BaseImage.Created = exact(ev.Image.BaseImage.Created)
	ev.Image.Ports, ev.PartialFeeds = sorted(ev.Image.Ports), sorted(ev.PartialFeeds)
	ev.Components = filled(ev.Components)
	for i := range ev.Components {
		c := &ev.Components[i]
		c.Packages, c.Licenses = sorted(c.Packages), sorted(c.Licenses)
	}
	ev.Findings = filled(ev.Findings)
	for i := range ev.Findings {
		f := &ev.Findings[i]
		f.Since, f.Aliases, f.Binaries = exact(f.Since), sorted(f.Aliases), sorted(f.Binaries)
		f.Due, f.Vectors = exact(f.Due), sorted(f.Vectors)
		f.Score, f.EPSS, f.Percentile = number(f.Score, 10), number(f.EPSS, 1), number(f.Percentile, 1)
	}
	ev.Facts, ev.Gaps, ev.Problems = filled(ev.Facts), filled(ev.Gaps), filled(ev.Problems)
	ev.Channels, ev.Signatures, ev.Signers = slices.Clone(ev.Channels), slices.Clone(ev.Signatures), slices.Clone(ev.Signers)
	for i := range ev.Channels {
		ev.Channels[i].Since = exact(ev.Channels[i].Since)
	}
	for i := range ev.Signatures {
		ev.Signatures[i].Time = exact(ev.Signatures[i].Time)
	}
	ev.Triage = slices.Clone(ev.Triage)
	for i := range ev.Triage {
		ev.Triage[i].Expires, ev.Triage[i].At = exact(ev.Triage[i].Expires), exact(ev.Triage[i].At)
	}
	byJSON(ev.Triage)
	inOrder(ev.Components, func(a, b *component.Component) int {
		if c := strings.Compare(a.PURL, b.PURL); c != 0 {
			return c
		}
		return strings.Compare(a.Path, b.Path)
	})
	inOrder(ev.Findings, func(a, b *finding.Finding) int {
		if c := strings.Compare(a.ID, b.ID); c != 0 {
			return c
		}
		if c := strings.Compare(a.PURL, b.PURL); c != 0 {
			return c
		}
		return strings.Compare(a.Path, b.Path)
	})
	byJSON(ev.Facts)
	byJSON(ev.Gaps)
	byJSON(ev.Problems)
	byJSON(ev.Channels)
	byJSON(ev.Signatures)
	byJSON(ev.Signers)
	return ev
}

// number replaces what is no number (JSON cannot say it) by the worst there is.
func number(n, worst float64) float64 {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return worst
	}
	return n
}

func filled[T any](list []T) []T { return append(make([]T, 0, len(list)), list...) }

func sorted(list []string) []string {
	list = filled(list)
	slices.Sort(list)
	return list
}

// inOrder sorts a long list by what tells nearly all of its items apart, and only
// those that are left equal by their JSON, which takes long.
func inOrder[T any](list []T, order func(a, b *T) int) {
	places := make([]*T, len(list)) // the items are large
	for i := range list {
		places[i] = &list[i]
	}
	slices.SortFunc(places, order)
	before := make([]T, len(list))
	for i, item := range places {
		before[i] = *item
	}
	copy(list, before)
	for len(list) > 0 {
		same := 1
		for same < len(list) && order(&list[0], &list[same]) == 0 {
			same++
		}
		if same > 1 {
			byJSON(list[:same])
		}
		list = list[same:]
	}
}

// byJSON sorts a list by the JSON of its items: an order that needs no
// knowledge of the type and leaves nothing undecided.
func byJSON[T any](list []T) {
	type item struct {
		text  string
		index int
	}
	items := make([]item, len(list))
	for i, value := range list {
		text, err := json.Marshal(value)
		if err != nil {
			text = []byte(err.Error())
		}
		items[i] = item{string(text), i}
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Or(cmp.Compare(a.text, b.text), a.index-b.index) })
	before := slices.Clone(list)
	for i := range items {
		list[i] = before[items[i].index]
	}
}
