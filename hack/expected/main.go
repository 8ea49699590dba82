// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Command expected compares what Goldkeep finds in the images of a data folder with
// what is known to be in them, package by package and finding by finding.
//
//	go run ./hack/expected DATA [IMAGE...]
//	go run ./hack/expected -cut OUT DATA
//
// It exits with 1 where anything is missing or too much. See docs in DATA/EXPECTED.md.
// The second form writes a small copy of the data folder, as in testdata.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./hack/expected DATA [IMAGE...]")
		os.Exit(2)
	}
	if len(os.Args) == 4 && os.Args[1] == "-cut" {
		if err := cut(context.Background(), os.Args[3], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "expected:", err)
			os.Exit(1)
		}
		return
	}
	wrong, err := run(context.Background(), os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "expected:", err)
		os.Exit(1)
	}
	if wrong > 0 {
		fmt.Printf("%d differences\n", wrong)
		os.Exit(1)
	}
}

func run(ctx context.Context, data string, only []string) (int, error) {
	wanted, err := load(filepath.Join(data, "expected.json"))
	if err != nil {
		return 0, err
	}
	tmp, err := os.MkdirTemp("", "goldkeep-expected-*")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	idx, end, err := openIndex(ctx, data, tmp)
	if err != nil {
		return 0, err
	}
	defer end()
	deps := scan.Deps{Advisories: idx, Layers: scan.FileCache(filepath.Join(tmp, "layers")), Now: time.Now}
	wrong := 0
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		w := wanted[name]
		start := time.Now()
		ev, err := evidence(ctx, data, w, deps)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		took := time.Since(start)
		start = time.Now()
		if _, err := scan.Rematch(ctx, ev, idx, time.Now()); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		n := compare(w, ev)
		wrong += n
		fmt.Printf("%-20s %4d packages %3d findings (%d hidden), %d gaps, %d problems: %d differences; scan %v, rematch %v\n", name,
			len(ev.Components), counted(ev), len(ev.Findings)-counted(ev), len(ev.Gaps), len(ev.Problems), n,
			took.Round(time.Millisecond), time.Since(start).Round(time.Millisecond/10))
		for _, g := range ev.Gaps {
			fmt.Printf("  gap      %s: %s\n", g.Component, g.Reason)
		}
		for _, p := range ev.Problems {
			fmt.Printf("  problem  %s: %s\n", p.Path, p.Reason)
		}
	}
	return wrong, nil
}

// evidence scans an image, or matches the list of its packages where a small data
// folder has no more of it.
func evidence(ctx context.Context, data string, w want, deps scan.Deps) (verdict.Evidence, error) {
	if strings.HasSuffix(w.File, ".json") {
		var inv component.Inventory
		raw, err := os.ReadFile(filepath.Join(data, w.File))
		if err == nil {
			err = json.Unmarshal(raw, &inv)
		}
		if err != nil {
			return verdict.Evidence{}, err
		}
		return scan.Rematch(ctx, verdict.Evidence{OS: inv.OS, Components: inv.Components, Problems: inv.Problems}, deps.Advisories, deps.Now())
	}
	img, err := image.Open(ctx, filepath.Join(data, w.File), image.Options{Platform: w.Platform.OS + "/" + w.Platform.Architecture})
	if err != nil {
		return verdict.Evidence{}, err
	}
	defer func() { _ = img.Close() }()
	return scan.Scan(ctx, img, deps)
}

func openIndex(ctx context.Context, data, tmp string) (*advisory.Index, func(), error) {
	st, err := sqlite.Open(ctx, filepath.Join(tmp, "advisories.db"), sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	end := func() { _ = st.Close() }
	idx := advisory.New(st)
	start := time.Now()
	if err := idx.Migrate(ctx); err != nil {
		end()
		return nil, nil, err
	}
	report, err := idx.Sync(ctx, filepath.Join(data, "osv"), advisory.SyncOptions{})
	if err != nil {
		end()
		return nil, nil, err
	}
	if err := importScores(ctx, idx, data); err != nil {
		end()
		return nil, nil, err
	}
	for _, c := range report.Changes {
		fmt.Printf("%-20s %d records, %d keys, %d bad\n", c.Feed, c.Records, len(c.Keys), c.Bad.Count)
	}
	fmt.Printf("synced in %v\n", time.Since(start).Round(time.Millisecond))
	return idx, end, nil
}

// importScores reads the lists that lie beside the bucket here, not in it.
func importScores(ctx context.Context, idx *advisory.Index, data string) error {
	for name, load := range map[string]func(context.Context, io.Reader) (advisory.Change, error){
		"kev.json": idx.ImportKEV, "epss.csv": idx.ImportEPSS, "cve-severity.json": idx.ImportCVSS,
	} {
		file, err := os.Open(filepath.Join(data, name))
		if err != nil {
			return err
		}
		_, err = load(ctx, file)
		if end := file.Close(); err == nil {
			err = end
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// want is what is known of one image.
type want struct {
	File     string `json:"file"`
	Platform struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
	Debian struct {
		Packages []struct {
			Binary        string `json:"binary"`
			Version       string `json:"version"`
			Arch          string `json:"arch"`
			Source        string `json:"source"`
			SourceVersion string `json:"source_version"`
		} `json:"packages"`
	} `json:"debian"`
	Languages []struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
		Version   string `json:"version"`
		Path      string `json:"path"`
		Layer     int    `json:"layer"`
		Owner     string `json:"dpkg_owner"`
	} `json:"language_packages"`
	Findings []wantFinding `json:"findings"`
	Owned    []wantFinding `json:"dpkg_owned_language_matches"`
	KEV      []string      `json:"kev_cves"`
	EPSS     map[string]struct {
		EPSS float64 `json:"epss"`
	} `json:"epss"`
}

type wantFinding struct {
	Ecosystem string   `json:"ecosystem"`
	Package   string   `json:"package"`
	Version   string   `json:"version"`
	Path      string   `json:"path"`
	ID        string   `json:"id"`
	Aliases   []string `json:"aliases"`
	Upstream  []string `json:"upstream"`
	Fixed     string   `json:"fixed"`
	Binaries  []string `json:"binaries"`
	Linked    *bool    `json:"vulnerable_package_linked"`
	Owner     string   `json:"dpkg_owner"`
}

func load(name string) (map[string]want, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var file struct {
		Images map[string]want `json:"images"`
	}
	return file.Images, json.Unmarshal(raw, &file)
}

func counted(ev verdict.Evidence) int {
	n := 0
	for _, f := range ev.Findings {
		if f.Hidden == "" {
			n++
		}
	}
	return n
}

// compare prints what differs and returns how much does.
func compare(w want, ev verdict.Evidence) int {
	return differ("package", wantPackages(w), gotPackages(ev)) +
		differ("finding", wantFindings(w), gotFindings(ev)) +
		differ("score", wantScores(w), gotScores(ev))
}

func differ(what string, want, got []string) int {
	n := 0
	for _, s := range want {
		if !slices.Contains(got, s) {
			fmt.Printf("  missing %s  %s\n", what, s)
			n++
		}
	}
	for _, s := range got {
		if !slices.Contains(want, s) {
			fmt.Printf("  extra %s    %s\n", what, s)
			n++
		}
	}
	if n == 0 && len(want) != len(got) {
		fmt.Printf("  %d of kind %s, want %d: some are there twice\n", len(got), what, len(want))
		n++
	}
	return n
}

func line(parts ...string) string { return strings.Join(parts, " | ") }

func wantPackages(w want) []string {
	var out []string
	for _, p := range w.Debian.Packages {
		out = append(out, line("deb", p.Binary, p.Version, p.Arch, p.Source, p.SourceVersion))
	}
	for _, p := range w.Languages {
		out = append(out, line(p.Ecosystem, p.Name, strings.TrimPrefix(p.Version, "v"), p.Path, fmt.Sprint(p.Layer), p.Owner))
	}
	return out
}

func gotPackages(ev verdict.Evidence) []string {
	var out []string
	for _, c := range ev.Components {
		switch {
		case c.Main: // the expectations leave it out
		case strings.HasPrefix(c.PURL, "pkg:deb/"):
			source, version := c.Source, c.SourceVersion
			if source == "" {
				source = c.Name
			}
			if version == "" {
				version = c.Version
			}
			out = append(out, line("deb", c.Name, c.Version, c.Arch, source, version))
		default:
			out = append(out, line(c.Ecosystem, c.Name, strings.TrimPrefix(c.Version, "v"), c.Path, fmt.Sprint(c.LayerIndex), c.Owner))
		}
	}
	return out
}

func wantFindings(w want) []string {
	var out []string
	for _, f := range slices.Concat(w.Findings, w.Owned) {
		hidden := ""
		if f.Owner != "" {
			hidden = "owned by " + f.Owner
		}
		out = append(out, wantLine(f, hidden))
	}
	return out
}

func wantLine(f wantFinding, hidden string) string {
	names := slices.Sorted(slices.Values(slices.Concat(f.Aliases, f.Upstream)))
	return line(f.Ecosystem, fold(f.Ecosystem, f.Package), strings.TrimPrefix(f.Version, "v"), f.Path, f.ID, f.Fixed,
		strings.Join(names, ","), strings.Join(f.Binaries, ","), linked(f.Linked), hidden)
}

func gotFindings(ev verdict.Evidence) []string {
	var out []string
	for _, f := range ev.Findings {
		path := f.Path
		if strings.HasPrefix(f.Ecosystem, "Debian") {
			path = "" // the expectations name none
		}
		out = append(out, line(f.Ecosystem, fold(f.Ecosystem, f.Package), strings.TrimPrefix(f.Version, "v"), path, f.ID, f.Fixed,
			strings.Join(f.Aliases, ","), strings.Join(f.Binaries, ","), linked(f.Linked), f.Hidden))
	}
	return out
}

func fold(ecosystem, name string) string { return advisory.NewKey(ecosystem, name).Name }

func linked(b *bool) string {
	if b == nil {
		return "linked not known"
	}
	return fmt.Sprintf("linked %v", *b)
}

func wantScores(w want) []string {
	var out []string
	for cve, s := range w.EPSS {
		out = append(out, line(cve, fmt.Sprint(s.EPSS)))
	}
	for _, cve := range w.KEV {
		out = append(out, line(cve, "exploited"))
	}
	return out
}

func gotScores(ev verdict.Evidence) []string {
	var out []string
	for _, f := range ev.Findings {
		for _, cve := range f.Aliases {
			if f.Hidden == "" && strings.HasPrefix(cve, "CVE-") && len(f.Aliases) > 0 {
				if f.EPSS > 0 {
					out = append(out, line(cve, fmt.Sprint(f.EPSS)))
				}
				if f.Exploited {
					out = append(out, line(cve, "exploited"))
				}
			}
		}
	}
	return out
}
