// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/vex"
)

// imageRef is the reference of the image itself.
const imageRef = "image"

// CycloneDX writes components and findings as CycloneDX 1.6 in JSON
// (https://cyclonedx.org/docs/1.6/json/). Layers and paths are properties named
// goldkeep:*.
func CycloneDX(w io.Writer, r Result) error {
	ev := presentable(r)
	refs := newRefs(ev.Components)
	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + uuidOf(ev.Image.ID+" "+ev.Snapshot+" "+r.Time.UTC().Format(time.RFC3339))
	bom.Metadata = &cdx.Metadata{
		Timestamp: r.Time.UTC().Format(time.RFC3339),
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "goldkeep", Version: r.Version}}},
		Component: &cdx.Component{
			BOMRef: imageRef, Type: cdx.ComponentTypeContainer, Name: imageName(ev.Image), Version: ev.Image.ID,
			Properties: properties(append(unseen(ev), "platform", ev.Image.Platform, "chainId", ev.Image.ChainID, "snapshot", ev.Snapshot, "owner", ev.Image.Owner, "ports", strings.Join(ev.Image.Ports, " "))...),
		},
	}
	components := []cdx.Component{}
	if ev.OS.ID != "" {
		components = append(components, cdx.Component{BOMRef: "os", Type: cdx.ComponentTypeOS, Name: ev.OS.ID, Version: ev.OS.VersionID, Description: ev.OS.Name})
	}
	for i, c := range ev.Components {
		components = append(components, cdxComponent(refs.list[i], c))
	}
	bom.Components = &components
	bom.Compositions = composition(ev)
	bom.Vulnerabilities = cdxVulnerabilities(ev, refs)
	enc := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON)
	enc.SetPretty(true)
	enc.SetEscapeHTML(false)
	return enc.EncodeVersion(bom, cdx.SpecVersion1_6)
}

// composition says whether the list of components is whole.
func composition(ev contents) *[]cdx.Composition {
	aggregate := cdx.CompositionAggregateComplete
	for _, p := range ev.Problems {
		if p.Fatal || p.Uncovered {
			aggregate = cdx.CompositionAggregateIncomplete
		}
	}
	return &[]cdx.Composition{{Aggregate: aggregate, Assemblies: &[]cdx.BOMReference{imageRef}}}
}

// refs gives each component a reference that is unique and does not depend on
// the others, and finds the one a finding speaks of.
type refs struct {
	list   []string          // by index
	byPath map[string]string // purl and path to reference
}

func newRefs(components []component.Component) refs {
	r := refs{byPath: map[string]string{}}
	seen := map[string]int{}
	for _, c := range components {
		id := "pkg-" + digest(c.PURL + "\x00" + c.Name + "\x00" + c.Version + "\x00" + c.Path + "\x00" + string(c.Layer))[:20]
		if seen[id]++; seen[id] > 1 {
			id += "-" + strconv.Itoa(seen[id])
		}
		r.list = append(r.list, id)
		r.byPath[c.PURL+"\x00"+c.Path] = id
	}
	return r
}

func (r refs) of(f finding.Finding) string {
	if id, ok := r.byPath[f.PURL+"\x00"+f.Path]; ok {
		return id
	}
	return imageRef
}

// details are the parts of a component that other formats have no field for. The
// room sbom reads them again.
func details(c component.Component) []string {
	return []string{
		"ecosystem", c.Ecosystem, "path", c.Path, "layer", string(c.Layer), "layerIndex", strconv.Itoa(c.LayerIndex),
		"source", c.Source, "sourceVersion", c.SourceVersion, "owner", c.Owner, "arch", c.Arch, "maintainer", c.Maintainer,
		"main", yes(c.Main), "module", c.Module, "linked", strings.Join(c.Packages, " "),
	}
}

// unseen says what was not read, so that nobody takes the list for a whole one.
func unseen(ev contents) []string {
	if len(ev.Problems) == 0 {
		return nil
	}
	text, err := json.Marshal(ev.Problems)
	if err != nil { // plain fields always encode
		return nil
	}
	return []string{"problems", string(text)}
}

func cdxComponent(ref string, c component.Component) cdx.Component {
	out := cdx.Component{
		BOMRef: ref, Type: cdx.ComponentTypeLibrary, Name: c.Name, Version: c.Version, PackageURL: c.PURL,
		Properties: properties(details(c)...),
	}
	if c.Main {
		out.Type = cdx.ComponentTypeApplication
	}
	licenses := cdx.Licenses{}
	for _, name := range slices.Compact(sortedBy(c.Licenses, strings.Compare)) {
		if name != "" {
			licenses = append(licenses, cdx.LicenseChoice{License: &cdx.License{Name: name}})
		}
	}
	if len(licenses) > 0 {
		out.Licenses = &licenses
	}
	return out
}

// cdxVulnerabilities makes one entry of all findings with the same id, and
// another one of those with the same id that somebody excused alike.
func cdxVulnerabilities(ev contents, refs refs) *[]cdx.Vulnerability {
	list := []cdx.Vulnerability{}
	at := map[string]int{}
	add := func(f finding.Finding, by *verdict.Triage) {
		key := f.ID
		if by != nil {
			key += "\x00" + decision(*by)
		}
		i, known := at[key]
		if !known {
			i = len(list)
			at[key] = i
			v := cdxVulnerability(f)
			v.BOMRef = "finding-" + digest(key)[:20]
			if by != nil { // whoever reads this as VEX must know that it ends
				v.Analysis = cdxAnalysis(*by)
				*v.Properties = append(*v.Properties, *properties("author", by.Author, "expires", by.Expires.UTC().Format(time.RFC3339Nano))...)
			}
			list = append(list, v)
		}
		addAffected(&list[i], refs.of(f), f.Version)
	}
	for _, f := range counted(ev.Findings) {
		if t, ok := promised(&ev.Evidence, f, ev.at); ok {
			add(f, &t)
			continue
		}
		add(f, nil)
	}
	for _, e := range ev.excused {
		add(e.Finding, &e.by)
	}
	return &list
}

// cdxAnalysis says in CycloneDX's words what somebody decided; package vex reads
// it back. A risk that is accepted is no less a risk: it stays "exploitable".
func cdxAnalysis(t verdict.Triage) *cdx.VulnerabilityAnalysis {
	a := &cdx.VulnerabilityAnalysis{Detail: decision(t)}
	if !t.At.IsZero() {
		a.LastUpdated = t.At.UTC().Format(time.RFC3339)
	}
	if t.Status == verdict.NotAffected {
		a.State, a.Justification = cdx.IASNotAffected, cdx.ImpactAnalysisJustification(vex.CycloneDXJustification(t.Justification))
		return a
	}
	a.State = cdx.IASExploitable
	if response := vex.Response(t.Status); response != "" {
		a.Response = &[]cdx.ImpactAnalysisResponse{cdx.ImpactAnalysisResponse(response)}
	}
	return a
}

func cdxVulnerability(f finding.Finding) cdx.Vulnerability {
	v := cdx.Vulnerability{
		ID: f.ID, Source: sourceOf(f.ID, f.URL), Description: f.Summary,
		Affects: &[]cdx.Affects{},
		Properties: properties("knownExploited", yes(f.Exploited), "epss", number(f.EPSS), "fixed", f.Fixed, "why", f.Why,
			"urgency", string(f.Urgency), "urgencyWhy", f.UrgencyWhy, "reach", string(f.Reach)),
	}
	rating := cdx.VulnerabilityRating{Severity: cdxSeverity(f.Severity), Method: cdx.ScoringMethodOther}
	if f.Score > 0 {
		score := f.Score
		rating.Score = &score
	}
	v.Ratings = &[]cdx.VulnerabilityRating{rating}
	if f.Fixed != "" {
		v.Recommendation = "upgrade " + f.Package + " to " + f.Fixed
	}
	references := []cdx.VulnerabilityReference{}
	for _, alias := range slices.Compact(sortedBy(f.Aliases, strings.Compare)) {
		references = append(references, cdx.VulnerabilityReference{ID: alias, Source: sourceOf(alias, "")})
	}
	if len(references) > 0 {
		v.References = &references
	}
	return v
}

func addAffected(v *cdx.Vulnerability, ref, version string) {
	for _, a := range *v.Affects {
		if a.Ref == ref {
			return
		}
	}
	status := cdx.VulnerabilityStatusAffected
	if v.Analysis != nil && v.Analysis.State == cdx.IASNotAffected {
		status = cdx.VulnerabilityStatusNotAffected
	}
	*v.Affects = append(*v.Affects, cdx.Affects{Ref: ref, Range: &[]cdx.AffectedVersions{{Version: version, Status: status}}})
}

// sourceOf names who gave out an id.
func sourceOf(id, address string) *cdx.Source {
	prefix, _, _ := strings.Cut(id, "-")
	name := map[string]string{"CVE": "NVD", "GHSA": "GitHub", "DSA": "Debian", "DLA": "Debian", "DEBIAN": "Debian", "USN": "Ubuntu", "GO": "Go", "PYSEC": "PyPA", "RUSTSEC": "RustSec", "ALPINE": "Alpine"}[prefix]
	if name == "" {
		name = "OSV"
	}
	if parsed, err := url.Parse(address); err != nil || parsed.Scheme != "https" && parsed.Scheme != "http" {
		address = ""
	}
	return &cdx.Source{Name: name, URL: address}
}

func cdxSeverity(severity string) cdx.Severity {
	switch severity {
	case "critical", "high", "medium", "low", "none":
		return cdx.Severity(severity)
	}
	return cdx.SeverityUnknown
}

// properties makes goldkeep:* properties of pairs, leaving out empty values.
func properties(pairs ...string) *[]cdx.Property {
	list := []cdx.Property{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			list = append(list, cdx.Property{Name: "goldkeep:" + pairs[i], Value: pairs[i+1]})
		}
	}
	return &list
}

func imageName(image verdict.Image) string {
	if image.Name != "" {
		return image.Name
	}
	return image.ID
}

func yes(b bool) string {
	if b {
		return "true"
	}
	return ""
}

func number(n float64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatFloat(n, 'g', -1, 64)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// uuidOf makes a UUID (RFC 9562, version 8) out of text.
func uuidOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
