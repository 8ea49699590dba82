// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Diff tells how one image differs from another: packages, findings that count,
// facts and settings, in the order of their names.
func Diff(from, to verdict.Evidence) client.ImageDiff {
	d := client.ImageDiff{
		From: from.Image.ID, To: to.Image.ID, Packages: diffPackages(from.Components, to.Components), Settings: diffSettings(from.Image, to.Image),
	}
	d.Gone, d.New = diffLists(findingsOf(from), findingsOf(to))
	d.FactsGone, d.FactsNew = diffLists(factsOf(from), factsOf(to))
	return d
}

// diffPackages pairs what has one name at the two sides: a package whose versions
// differ is changed, not gone and new.
func diffPackages(from, to []component.Component) []client.PackageDiff {
	type side struct {
		versions []string
		layer    int
	}
	type both struct{ from, to side }
	all := map[[2]string]*both{}
	add := func(c component.Component, pick func(*both) *side) {
		key := [2]string{c.Ecosystem, c.Name}
		if all[key] == nil {
			all[key] = &both{}
		}
		s := pick(all[key])
		if !slices.Contains(s.versions, c.Version) {
			s.versions = append(s.versions, c.Version)
		}
		s.layer = max(s.layer, c.LayerIndex)
	}
	for _, c := range from {
		add(c, func(b *both) *side { return &b.from })
	}
	for _, c := range to {
		add(c, func(b *both) *side { return &b.to })
	}
	out := []client.PackageDiff{}
	for key, b := range all {
		slices.Sort(b.from.versions)
		slices.Sort(b.to.versions)
		if slices.Equal(b.from.versions, b.to.versions) {
			continue
		}
		d := client.PackageDiff{Ecosystem: key[0], Name: key[1], From: strings.Join(b.from.versions, ", "), To: strings.Join(b.to.versions, ", "), Layer: b.to.layer}
		if len(b.to.versions) == 0 {
			d.Layer = b.from.layer
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b client.PackageDiff) int {
		return cmp.Or(strings.Compare(a.Ecosystem, b.Ecosystem), strings.Compare(a.Name, b.Name))
	})
	return out
}

func findingsOf(ev verdict.Evidence) []string {
	var lines []string
	for _, f := range ev.Findings {
		if f.Hidden == "" {
			lines = append(lines, findingLine(f))
		}
	}
	return lines
}

func findingLine(f finding.Finding) string {
	return fmt.Sprintf("%s %s (%s)", f.ID, f.Package, cmp.Or(f.Severity, "unknown"))
}

func factsOf(ev verdict.Evidence) []string {
	var lines []string
	for _, f := range ev.Facts {
		lines = append(lines, strings.TrimSpace(string(f.Kind)+" "+f.Path+" "+f.Detail))
	}
	return lines
}

// diffLists returns what only the first and only the second list has, sorted.
func diffLists(from, to []string) (gone, added []string) {
	without := func(list, other []string) []string {
		out := []string{}
		for _, line := range list {
			if !slices.Contains(other, line) && !slices.Contains(out, line) {
				out = append(out, line)
			}
		}
		slices.Sort(out)
		return out
	}
	return without(from, to), without(to, from)
}

func diffSettings(from, to verdict.Image) []client.SettingDiff {
	out := []client.SettingDiff{}
	add := func(name, a, b string) {
		if a != b {
			out = append(out, client.SettingDiff{Name: name, From: a, To: b})
		}
	}
	add("user", from.User, to.User)
	add("ports", strings.Join(from.Ports, " "), strings.Join(to.Ports, " "))
	add("platform", from.Platform, to.Platform)
	add("created", from.Created.UTC().Format(time.RFC3339), to.Created.UTC().Format(time.RFC3339))
	add("base", cmp.Or(from.BaseImage.Name, from.Base), cmp.Or(to.BaseImage.Name, to.Base))
	names := map[string]bool{}
	for name := range from.Labels {
		names[name] = true
	}
	for name := range to.Labels {
		names[name] = true
	}
	for name := range names {
		add("label "+name, from.Labels[name], to.Labels[name])
	}
	slices.SortFunc(out, func(a, b client.SettingDiff) int { return strings.Compare(a.Name, b.Name) })
	return out
}
