// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// The wire form of the part of CycloneDX 1.4 to 1.6 that VEX needs
// (https://cyclonedx.org/docs/1.6/json/).
type cycloneDX struct {
	BOMFormat       string             `json:"bomFormat"`
	SpecVersion     string             `json:"specVersion"`
	SerialNumber    string             `json:"serialNumber,omitempty"`
	Version         int                `json:"version"`
	Metadata        *cdxMetadata       `json:"metadata,omitempty"`
	Components      []cdxComponent     `json:"components,omitempty"`
	Vulnerabilities []cdxVulnerability `json:"vulnerabilities"`
}

type cdxMetadata struct {
	Timestamp string        `json:"timestamp,omitempty"`
	Authors   []cdxNamed    `json:"authors,omitempty"`
	Component *cdxComponent `json:"component,omitempty"`
	Supplier  *cdxNamed     `json:"supplier,omitempty"`
}

type cdxNamed struct {
	Name string `json:"name"`
}

type cdxComponent struct {
	Type       string         `json:"type"`
	BOMRef     string         `json:"bom-ref,omitempty"`
	Name       string         `json:"name"`
	Version    string         `json:"version,omitempty"`
	PURL       string         `json:"purl,omitempty"`
	Hashes     []cdxHash      `json:"hashes,omitempty"`
	Components []cdxComponent `json:"components,omitempty"`
}

type cdxHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type cdxVulnerability struct {
	BOMRef     string        `json:"bom-ref,omitempty"`
	ID         string        `json:"id"`
	References []cdxAlias    `json:"references,omitempty"`
	Updated    string        `json:"updated,omitempty"`
	Analysis   *cdxAnalysis  `json:"analysis,omitempty"`
	Affects    []cdxAffects  `json:"affects,omitempty"`
	Properties []cdxProperty `json:"properties,omitempty"`
}

type cdxAlias struct {
	ID     string   `json:"id"`
	Source cdxNamed `json:"source"`
}

type cdxAnalysis struct {
	State         string   `json:"state,omitempty"`
	Justification string   `json:"justification,omitempty"`
	Response      []string `json:"response,omitempty"`
	Detail        string   `json:"detail,omitempty"`
	FirstIssued   string   `json:"firstIssued,omitempty"`
	LastUpdated   string   `json:"lastUpdated,omitempty"`
}

type cdxAffects struct {
	Ref      string       `json:"ref"`
	Versions []cdxVersion `json:"versions,omitempty"`
}

type cdxVersion struct {
	Version string `json:"version,omitempty"`
	Range   string `json:"range,omitempty"`
	Status  string `json:"status,omitempty"`
}

type cdxProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// justificationOf translates CycloneDX's nine reasons to OpenVEX's five. The way
// back is cdxJustification; docs/triage.md has both as a table.
var justificationOf = map[string]string{
	"code_not_present":                "vulnerable_code_not_present",
	"code_not_reachable":              "vulnerable_code_not_in_execute_path",
	"requires_configuration":          "vulnerable_code_cannot_be_controlled_by_adversary",
	"requires_dependency":             "component_not_present",
	"requires_environment":            "vulnerable_code_cannot_be_controlled_by_adversary",
	"protected_by_compiler":           "inline_mitigations_already_exist",
	"protected_at_runtime":            "inline_mitigations_already_exist",
	"protected_at_perimeter":          "inline_mitigations_already_exist",
	"protected_by_mitigating_control": "inline_mitigations_already_exist",
}

// CycloneDXJustification is OpenVEX's reason in CycloneDX's words; "" for "".
func CycloneDXJustification(openVEX string) string {
	return map[string]string{
		"component_not_present":                             "requires_dependency",
		"vulnerable_code_not_present":                       "code_not_present",
		"vulnerable_code_not_in_execute_path":               "code_not_reachable",
		"vulnerable_code_cannot_be_controlled_by_adversary": "requires_environment",
		"inline_mitigations_already_exist":                  "protected_by_mitigating_control",
	}[openVEX]
}

// states are the statuses of CycloneDX's analysis.state.
var states = map[string]Status{
	"not_affected": NotAffected, "false_positive": NotAffected, "exploitable": Affected,
	"resolved": Fixed, "resolved_with_pedigree": Fixed, "in_triage": UnderInvestigation, "": UnderInvestigation,
}

func readCycloneDX(data []byte) (*Document, error) {
	var in cycloneDX
	if err := decode(data, &in); err != nil {
		return nil, err
	}
	switch in.SpecVersion {
	case "1.4", "1.5", "1.6":
	default:
		return nil, wrong("specVersion", "it is %.80q; CycloneDX 1.4 to 1.6 can be read", in.SpecVersion)
	}
	doc := &Document{Format: "cyclonedx", ID: in.SerialNumber, Version: in.Version}
	var issued time.Time
	if m := in.Metadata; m != nil {
		var err error
		if issued, err = newest("metadata.timestamp", m.Timestamp); err != nil {
			return nil, err
		}
		if len(m.Authors) > 0 {
			doc.Author = m.Authors[0].Name
		} else if m.Supplier != nil {
			doc.Author = m.Supplier.Name
		}
	}
	doc.Time = issued
	for _, name := range []string{doc.ID, doc.Author} {
		if err := checkName("metadata", name); err != nil {
			return nil, err
		}
	}
	if len(in.Vulnerabilities) == 0 {
		return nil, wrong("vulnerabilities", "there is none: this bill of materials says nothing of flaws")
	}
	r, places := reader{doc: doc}, in.places()
	for i, v := range in.Vulnerabilities {
		s, err := v.statement(fmt.Sprintf("vulnerabilities[%d]", i), issued, places)
		if err != nil {
			return nil, err
		}
		if err := r.add(s); err != nil {
			return nil, err
		}
	}
	return doc, nil
}

// places finds what the references of a document stand for.
type places struct {
	image *Product // the container the document as a whole is about
	refs  map[string]cdxComponent
}

func (in *cycloneDX) places() places {
	p := places{refs: map[string]cdxComponent{}}
	if in.Metadata != nil && in.Metadata.Component != nil {
		c := *in.Metadata.Component
		p.add([]cdxComponent{c})
		if image := c.product(); c.Type == "container" && len(image.Digests) > 0 {
			p.image = &image
		}
	}
	p.add(in.Components)
	return p
}

func (p places) add(components []cdxComponent) {
	for _, c := range components {
		if c.BOMRef != "" {
			p.refs[c.BOMRef] = c
		}
		p.add(c.Components)
	}
}

// product is the product a component is.
func (c cdxComponent) product() Product {
	out := Product{ID: c.PURL}
	if c.Type == "container" && strings.HasPrefix(c.Version, "sha256:") {
		out.Digests = append(out.Digests, c.Version)
	}
	for _, h := range c.Hashes {
		if h.Algorithm == "SHA-256" {
			out.Digests = append(out.Digests, "sha256:"+strings.ToLower(h.Content))
		}
	}
	return out
}

// products are what an entry of "affects" speaks of: a component of the image the
// document is about, or something that stands for itself. What cannot be found is
// kept by its reference, so that it is told and not left out.
func (p places) products(a cdxAffects) []Product {
	c, known := p.refs[a.Ref]
	if !known {
		// A link into another document: "urn:cdx:serial/version#bom-ref".
		_, ref, linked := strings.Cut(a.Ref, "#")
		if !linked {
			ref = a.Ref
		}
		c = cdxComponent{PURL: ref}
	}
	whole := c.product()
	if c.Type == "container" || p.image == nil {
		var out []Product
		for _, id := range versioned(whole.ID, a.Versions) {
			out = append(out, Product{ID: id, Digests: whole.Digests})
		}
		return out
	}
	return []Product{{ID: p.image.ID, Digests: p.image.Digests, Packages: versioned(whole.ID, a.Versions)}}
}

// versioned narrows a package URL without a version to those listed. A range
// cannot be said in a package URL: what it stands for is then nothing we know.
func versioned(purl string, versions []cdxVersion) []string {
	p, err := ParsePURL(purl)
	if err != nil || p.Version != "" || len(versions) == 0 || p.Type == "oci" {
		return []string{purl}
	}
	var out []string
	for _, v := range versions {
		if v.Version == "" {
			out = append(out, "range:"+v.Range)
			continue
		}
		p.Version = v.Version
		out = append(out, p.String())
	}
	return out
}

func (v *cdxVulnerability) statement(at string, issued time.Time, places places) (Statement, error) {
	s := Statement{At: at, ID: v.BOMRef, Names: []string{v.ID}, Time: issued}
	for _, alias := range v.References {
		if alias.ID != "" && !slices.Contains(s.Names, alias.ID) {
			s.Names = append(s.Names, alias.ID)
		}
	}
	a := v.Analysis
	if a == nil {
		a = &cdxAnalysis{Detail: "no analysis"}
	}
	changed, err := newest(at, v.Updated, a.FirstIssued, a.LastUpdated)
	if err != nil {
		return s, err
	}
	if !changed.IsZero() {
		s.Time = changed
	}
	if err := s.analysed(a); err != nil {
		return s, err
	}
	var narrowed []string
	for _, p := range v.Properties {
		switch p.Name {
		case "goldkeep:author":
			s.Own.Author = p.Value
		case "goldkeep:imported":
			s.Own.Imported = p.Value
		case "goldkeep:package":
			narrowed = append(narrowed, p.Value)
		case "goldkeep:expires":
			if s.Own.Expires, err = newest(at+".properties", p.Value); err != nil {
				return s, err
			}
		}
	}
	for _, a := range v.Affects {
		for _, p := range places.products(a) {
			p.Packages = append(p.Packages, narrowed...)
			s.Products = append(s.Products, p)
		}
	}
	return s, nil
}

// analysed takes in what the analysis says.
func (s *Statement) analysed(a *cdxAnalysis) error {
	status, ok := states[a.State]
	if !ok {
		return wrong(s.At+".analysis.state", "%.80q is no state", a.State)
	}
	s.Status, s.Text = status, strings.TrimSpace(a.Detail)
	if a.Justification != "" && justificationOf[a.Justification] == "" {
		return wrong(s.At+".analysis.justification", "%.80q is no justification", a.Justification)
	}
	switch {
	case status == NotAffected && a.Justification == "" && a.State == "false_positive":
		s.Justification = "vulnerable_code_not_present"
	case status == NotAffected:
		s.Justification = justificationOf[a.Justification]
	case status == Affected && slices.Contains(a.Response, "will_not_fix"):
		s.Own.Decision = "accepted"
	case status == Affected && (slices.Contains(a.Response, "update") || slices.Contains(a.Response, "rollback")):
		s.Own.Decision = "fixing"
	}
	if status == Affected {
		s.Action = joined(strings.ReplaceAll(strings.Join(a.Response, ", "), "_", " "))
	}
	return nil
}

// WriteCycloneDX writes a document as CycloneDX 1.6. It must have a statement.
func WriteCycloneDX(doc Document) ([]byte, error) {
	if len(doc.Statements) == 0 {
		return nil, fault.New(fault.NotFound, "there is no statement to write").WithHint("decide something first: goldkeep finding triage")
	}
	out := cycloneDX{
		BOMFormat: "CycloneDX", SpecVersion: "1.6", SerialNumber: doc.ID, Version: max(1, doc.Version),
		Metadata: &cdxMetadata{Timestamp: stamp(doc.Time), Authors: []cdxNamed{{doc.Author}}},
	}
	if !strings.HasPrefix(doc.ID, "urn:uuid:") {
		out.SerialNumber = ""
	}
	listed := map[string]bool{}
	for _, s := range doc.Statements {
		v := s.cycloneDX()
		for _, p := range s.Products {
			v.Affects = append(v.Affects, cdxAffects{Ref: p.ID})
			if !listed[p.ID] {
				listed[p.ID] = true
				out.Components = append(out.Components, p.component())
			}
		}
		if len(s.Products) > 0 {
			for _, name := range s.Products[0].Packages {
				v.Properties = append(v.Properties, cdxProperty{"goldkeep:package", name})
			}
		}
		out.Vulnerabilities = append(out.Vulnerabilities, v)
	}
	return pretty(out)
}

func (p Product) component() cdxComponent {
	c := cdxComponent{Type: "container", BOMRef: p.ID, Name: p.ID, PURL: p.ID}
	if parsed, err := ParsePURL(p.ID); err == nil {
		c.Name, c.Version = parsed.Name, parsed.Version
	}
	return c
}

func (s Statement) cycloneDX() cdxVulnerability {
	v := cdxVulnerability{BOMRef: s.ID, ID: s.Names[0], Analysis: &cdxAnalysis{Detail: s.Text, LastUpdated: stamp(s.Time)}}
	for _, alias := range s.Names[1:] {
		v.References = append(v.References, cdxAlias{ID: alias, Source: cdxNamed{"goldkeep"}})
	}
	switch s.Status {
	case NotAffected:
		v.Analysis.State, v.Analysis.Justification = "not_affected", CycloneDXJustification(s.Justification)
	case Affected:
		v.Analysis.State = "exploitable"
		if response := Response(s.Own.Decision); response != "" {
			v.Analysis.Response = []string{response}
		}
	case Fixed:
		v.Analysis.State = "resolved"
	default:
		v.Analysis.State = "in_triage"
	}
	for _, p := range [][2]string{{"author", s.Own.Author}, {"imported", s.Own.Imported}} {
		if p[1] != "" {
			v.Properties = append(v.Properties, cdxProperty{"goldkeep:" + p[0], p[1]})
		}
	}
	if !s.Own.Expires.IsZero() {
		v.Properties = append(v.Properties, cdxProperty{"goldkeep:expires", stamp(s.Own.Expires)})
	}
	return v
}

// Response is what CycloneDX's analysis.response says of a decision.
func Response(decision string) string {
	return map[string]string{"accepted": "will_not_fix", "fixing": "update"}[decision]
}
