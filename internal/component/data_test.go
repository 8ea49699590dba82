// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

//go:build data

package component_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/image"
)

// These tests compare what is found in real images with what dpkg, pip and go
// themselves say (expected.json). Run them with the test data's folder:
//
//	GOLDKEEP_DATA=DIR go test -tags data ./internal/component

type expectedImage struct {
	File     string `json:"file"`
	Platform struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
	Manifest string `json:"manifest_digest"`
	Config   string `json:"config_digest"`
	Layers   []struct {
		Digest string `json:"digest"`
		DiffID string `json:"diff_id"`
	} `json:"layers"`
	OS struct {
		Ecosystem string `json:"ecosystem"`
	} `json:"os"`
	Facts struct {
		Root    bool                          `json:"runs_as_root"`
		SetUID  []struct{ Path, Mode string } `json:"setuid_setgid"`
		Caps    []struct{ Path string }       `json:"file_capabilities"`
		Open    []string                      `json:"world_writable_dirs_without_sticky"`
		Shells  []string                      `json:"shells"`
		Package []string                      `json:"package_managers"`
		Tools   []string                      `json:"tools"`
	} `json:"facts"`
	Debian struct {
		Packages []struct {
			Binary, Version, Arch, Source string
			SourceVersion                 string `json:"source_version"`
		} `json:"packages"`
	} `json:"debian"`
	Language []struct {
		Ecosystem, Name, Version, Path string
		Layer                          int
		Owner                          string `json:"dpkg_owner"`
	} `json:"language_packages"`
	Findings []struct {
		Ecosystem, Package string
		Linked             *bool    `json:"vulnerable_package_linked"`
		Packages           []string `json:"vulnerable_packages"`
	} `json:"findings"`
	Secrets []struct {
		Kind, Where string
		Deleted     *int `json:"deleted_in_layer"`
	} `json:"secrets"`
}

func dataFolder(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("GOLDKEEP_DATA")
	if dir == "" {
		t.Fatal("set GOLDKEEP_DATA to the folder of the test data")
	}
	return dir
}

func TestExpected(t *testing.T) {
	dir := dataFolder(t)
	text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Images map[string]expectedImage }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for name, want := range all.Images {
		t.Run(name, func(t *testing.T) {
			o := image.Options{Platform: want.Platform.OS + "/" + want.Platform.Architecture}
			img, err := image.Open(t.Context(), filepath.Join(dir, want.File), o)
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			reports, err := component.ReadLayers(t.Context(), img, image.Limits{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			inv := component.Join(img, reports)
			compareIdentity(t, want, img, inv)
			comparePackages(t, want, inv)
			compareFacts(t, want, inv)
			compareSecrets(t, want, inv)
			compareLinked(t, want, inv)
			if len(inv.Problems) > 0 {
				t.Errorf("problems: %v", inv.Problems)
			}
		})
	}
}

func compareIdentity(t *testing.T, want expectedImage, img *image.Image, inv *component.Inventory) {
	t.Helper()
	if string(img.ID) != want.Config || string(img.Manifests[0]) != want.Manifest || inv.OS.Ecosystem != want.OS.Ecosystem {
		t.Errorf("got %s %v %q", img.ID, img.Manifests, inv.OS.Ecosystem)
	}
	for i, l := range want.Layers {
		if string(img.Layers[i].Digest) != l.Digest || string(img.Layers[i].DiffID) != l.DiffID {
			t.Errorf("layer %d: %+v", i, img.Layers[i])
		}
	}
}

func comparePackages(t *testing.T, want expectedImage, inv *component.Inventory) {
	t.Helper()
	var expected, got []string
	for _, p := range want.Debian.Packages {
		expected = append(expected, strings.Join([]string{want.OS.Ecosystem, p.Binary, p.Version, p.Arch, p.Source, p.SourceVersion}, " "))
	}
	for _, p := range want.Language {
		expected = append(expected, strings.Join([]string{p.Ecosystem, p.Name, p.Version, p.Path, string(rune('0' + p.Layer)), p.Owner}, " "))
	}
	for _, c := range inv.Components {
		switch {
		case c.Main: // not matched, not listed
		case c.Source != "":
			got = append(got, strings.Join([]string{c.Ecosystem, c.Name, c.Version, c.Arch, c.Source, c.SourceVersion}, " "))
		default:
			got = append(got, strings.Join([]string{c.Ecosystem, c.Name, c.Version, c.Path, string(rune('0' + c.LayerIndex)), c.Owner}, " "))
		}
	}
	slices.Sort(expected)
	slices.Sort(got)
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Error(diff)
	}
}

func compareFacts(t *testing.T, want expectedImage, inv *component.Inventory) {
	t.Helper()
	var setuid, caps []string
	for _, f := range want.Facts.SetUID {
		setuid = append(setuid, f.Path)
	}
	for _, f := range want.Facts.Caps {
		caps = append(caps, f.Path)
	}
	for kind, paths := range map[component.FactKind][]string{
		component.SetUID: setuid, component.Capability: caps, component.WorldWritable: want.Facts.Open,
		component.Shell: want.Facts.Shells, component.PackageManager: want.Facts.Package,
	} {
		paths = append([]string{}, paths...)
		slices.Sort(paths)
		if diff := cmp.Diff(paths, factsOf(inv, kind)); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
	}
	found := append(factsOf(inv, component.Compiler), factsOf(inv, component.NetworkTool)...)
	for _, tool := range want.Facts.Tools {
		neither := strings.Contains(tool, "perl") || strings.Contains(tool, "jq") || strings.Contains(tool, "python")
		if !neither && !slices.Contains(found, tool) {
			t.Errorf("%s was not found", tool)
		}
	}
	if root := len(factsOf(inv, component.RootUser)) == 1; root != want.Facts.Root {
		t.Errorf("root: %v", root)
	}
}

// compareSecrets compares the places: no secret missed, no false alarm.
func compareSecrets(t *testing.T, want expectedImage, inv *component.Inventory) {
	t.Helper()
	expected := []string{}
	for _, s := range want.Secrets {
		where := strings.TrimPrefix(strings.TrimPrefix(s.Where, "config "), "Env ")
		switch {
		case strings.HasPrefix(s.Where, "config Env "):
			where = "env " + where
		case strings.HasPrefix(where, "history"):
			where, _, _ = strings.Cut(where, ".")
		}
		if s.Deleted != nil {
			where += "(deleted)"
		}
		expected = append(expected, where)
	}
	got := factsOf(inv, component.EmbeddedSecret)
	slices.Sort(expected)
	slices.Sort(got)
	if diff := cmp.Diff(slices.Compact(expected), slices.Compact(got)); diff != "" {
		t.Error(diff)
	}
}

func compareLinked(t *testing.T, want expectedImage, inv *component.Inventory) {
	t.Helper()
	for _, f := range want.Findings {
		if f.Linked == nil {
			continue
		}
		linked := slices.ContainsFunc(inv.Components, func(c component.Component) bool {
			return c.Name == f.Package && slices.ContainsFunc(f.Packages, func(p string) bool { return slices.Contains(c.Packages, p) })
		})
		if linked != *f.Linked {
			t.Errorf("%s %v: linked %v", f.Package, f.Packages, linked)
		}
	}
}
