// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/report"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

func TestDiffOfTwoImages(t *testing.T) {
	pkg := func(name, version string, layer int) component.Component {
		return component.Component{Ecosystem: "npm", Name: name, Version: version, LayerIndex: layer}
	}
	from := verdict.Evidence{
		Image:      verdict.Image{ID: "a", User: "root", Labels: map[string]string{"team": "x"}},
		Components: []component.Component{pkg("same", "1", 0), pkg("up", "1", 1), pkg("gone", "3", 1)},
		Findings:   []finding.Finding{{ID: "CVE-1", Package: "up", Severity: "high"}, {ID: "CVE-9", Package: "up", Hidden: "unimportant"}},
		Facts:      []component.Fact{{Kind: component.RootUser, Path: "config"}},
	}
	to := verdict.Evidence{
		Image:      verdict.Image{ID: "b", User: "1000", Labels: map[string]string{"team": "x"}},
		Components: []component.Component{pkg("same", "1", 5), pkg("up", "2", 1), pkg("up", "1", 2), pkg("new", "1", 2)},
		Findings:   []finding.Finding{{ID: "CVE-2", Package: "new"}},
	}
	want := client.ImageDiff{
		From: "a", To: "b",
		Packages: []client.PackageDiff{
			{Ecosystem: "npm", Name: "gone", From: "3", Layer: 1},
			{Ecosystem: "npm", Name: "new", To: "1", Layer: 2},
			{Ecosystem: "npm", Name: "up", From: "1", To: "1, 2", Layer: 2},
		},
		Gone: []string{"CVE-1 up (high)"}, New: []string{"CVE-2 new (unknown)"}, FactsGone: []string{"rootUser config"}, FactsNew: []string{},
		Settings: []client.SettingDiff{{Name: "user", From: "root", To: "1000"}},
	}
	if diff := cmp.Diff(want, report.Diff(from, to)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if same := report.Diff(from, from); len(same.Packages)+len(same.Gone)+len(same.New)+len(same.Settings) != 0 {
		t.Errorf("an image differs from itself: %+v", same)
	}
}
