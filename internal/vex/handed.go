// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"cmp"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/finding"
)

// Target is the image documents are handed in for.
type Target struct {
	Digests []string // all it goes by
	Name    string   // as it was called: "registry.example.com/team/shop:1.2"; "" not known
}

// Claims are what a statement says of an image: the packages of it that it speaks
// of, one claim for each product that is the image or a package as such. A product
// that is an image without a digest is meant by its name: whoever hands a document
// in for an image has seen to it that it is for that one.
func (s Statement) Claims(t Target) []Claim {
	var claims []Claim
	for _, p := range s.Products {
		purl, err := ParsePURL(p.ID)
		_, packaged := purl.Key()
		switch {
		case slices.ContainsFunc(p.Images(), func(d string) bool { return slices.Contains(t.Digests, d) }):
			claims = append(claims, Claim{s.Names, p.Packages})
		case err != nil || len(p.Images()) > 0:
		case purl.Type == "oci" && purl.Version == "" && t.called(purl):
			claims = append(claims, Claim{s.Names, p.Packages})
		case packaged && len(p.Packages) == 0 && (s.Status != Fixed || purl.Version != ""):
			claims = append(claims, Claim{s.Names, []string{p.ID}})
		}
	}
	return claims
}

// called reports whether a package URL names the target's repository.
func (t Target) called(p PURL) bool {
	name, _, _ := strings.Cut(t.Name, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	if p.Qualifiers["goldkeep_scope"] != "" || name == "" {
		return false
	}
	if address := p.Qualifiers["repository_url"]; address != "" {
		return strings.EqualFold(strings.TrimPrefix(address, "https://"), name)
	}
	return strings.EqualFold(p.Name, name[strings.LastIndexByte(name, '/')+1:])
}

// ApplyTo writes into findings what the document says of an image, as Book.Apply
// does for vendors; statements that have an end (Own.Expires) are left to the
// caller, for whom they are decisions. It returns how many statements were for
// this image.
func (d *Document) ApplyTo(t Target, findings []finding.Finding) int {
	var all []said
	used := 0
	for _, s := range d.Statements {
		claims := s.Claims(t)
		if len(claims) > 0 {
			used++
		}
		if !s.Own.Expires.IsZero() {
			continue
		}
		one := said{
			Vendor: cmp.Or(shown(d.Author), "nobody"), Names: s.Names, Status: s.Status, Justification: s.Justification, Text: shown(s.Text),
			Document: d.ID, Version: d.Version, Time: s.Time,
		}
		for _, c := range claims {
			for _, p := range c.Packages {
				one.Package = p
				all = append(all, one)
			}
			if len(c.Packages) == 0 {
				one.Package = ""
				all = append(all, one)
			}
		}
	}
	for i := range findings {
		judge(&findings[i], all)
	}
	finding.Weigh(findings)
	finding.Sort(findings)
	return used
}
