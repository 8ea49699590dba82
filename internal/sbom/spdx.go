// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"encoding/json"
	"regexp"
	"strings"
)

// spdx reads the keys of an SPDX document.
func (d *document) spdx(s *stream, key string) {
	switch key {
	case "spdxVersion":
		d.format, d.version = "SPDX", strings.TrimPrefix(s.text(), "SPDX-")
	case "name":
		d.name = s.text()
	case "comment":
		for name, value := range noted(s.text()) {
			d.props[name] = value
		}
	case "creationInfo":
		d.creation(s)
	case "documentDescribes":
		s.array(func() { d.described[s.text()] = true })
	case "packages":
		s.array(func() { d.spdxPackage(s) })
	case "relationships":
		s.array(func() { d.relationship(s) })
	default:
		s.skip()
	}
}

func (d *document) creation(s *stream) {
	s.object(func(key string) {
		switch key {
		case "created":
			d.created = s.text()
		case "creators":
			s.array(func() {
				if tool, ok := strings.CutPrefix(s.text(), "Tool: "); ok && len(d.tools) < 5 {
					d.tools = append(d.tools, spaced(tool))
				}
			})
		default:
			s.skip()
		}
	})
}

// spaced writes "syft-1.57.0" as "syft 1.57.0".
func spaced(tool string) string {
	if i := strings.LastIndexByte(tool, '-'); i > 0 && i+1 < len(tool) && (tool[i+1] == 'v' || tool[i+1] >= '0' && tool[i+1] <= '9') {
		return tool[:i] + " " + tool[i+1:]
	}
	return tool
}

// noted reads what Goldkeep wrote into a comment.
func noted(comment string) map[string]string {
	props := map[string]string{}
	if text, ok := strings.CutPrefix(comment, "goldkeep: "); ok {
		_ = json.Unmarshal([]byte(text), &props) // another's comment: nothing is taken from it
	}
	return props
}

func (d *document) spdxPackage(s *stream) {
	i := item{props: map[string]string{}}
	comment := ""
	s.object(func(key string) {
		switch key {
		case "SPDXID":
			i.ref = s.text()
		case "name":
			i.name = s.text()
		case "versionInfo":
			i.version = s.text()
		case "supplier":
			i.maker = maker(s.text())
		case "sourceInfo":
			i.found = s.text()
		case "comment":
			comment = s.text()
		case "primaryPackagePurpose":
			i.kind = strings.ToLower(strings.ReplaceAll(s.text(), "_", "-"))
		case "licenseDeclared", "licenseConcluded":
			if l := s.text(); l != "" && l != "NOASSERTION" && l != "NONE" && len(i.licenses) == 0 {
				i.licenses = []string{shown(l)}
			}
		case "licenseComments":
			s.skip()
		case "externalRefs":
			s.array(func() { i.reference(s) })
		default:
			s.skip()
		}
	})
	for name, value := range noted(comment) {
		i.props[name] = value
	}
	i.whereFound()
	if s.err == nil {
		s.err = d.add(i)
	}
}

// maker reads "Organization: NAME (ADDRESS)" and "Person: NAME (ADDRESS)".
func maker(supplier string) string {
	_, who, ok := strings.Cut(supplier, ": ")
	if !ok {
		return ""
	}
	if name, address, ok := strings.Cut(strings.TrimSuffix(who, ")"), " ("); ok {
		return name + " <" + address + ">"
	}
	return who
}

func (i *item) reference(s *stream) {
	var kind, locator string
	s.object(func(key string) {
		switch key {
		case "referenceType":
			kind = s.text()
		case "referenceLocator":
			locator = s.text()
		default:
			s.skip()
		}
	})
	if kind == "purl" && i.purl == "" {
		i.purl = locator
	}
}

var (
	syftFound  = regexp.MustCompile(`^acquired package info from [^:]*: (/?[^,]+)`)
	trivyFound = regexp.MustCompile(`^package found in: (\S+)`)
	trivyBuilt = regexp.MustCompile(`^built package from: (\S+) (\S+)`)
)

// whereFound reads the sentences syft and trivy write into sourceInfo.
func (i *item) whereFound() {
	if m := syftFound.FindStringSubmatch(i.found); m != nil && i.props["path"] == "" {
		i.props["path"] = m[1]
	}
	if m := trivyFound.FindStringSubmatch(i.found); m != nil && i.props["path"] == "" {
		i.props["path"] = m[1]
	}
	if m := trivyBuilt.FindStringSubmatch(i.found); m != nil && i.props["source"] == "" {
		i.props["source"], i.props["sourceVersion"] = m[1], m[2]
	}
}

// relationship keeps what the document is about, and which package has another's
// files among its own (syft).
func (d *document) relationship(s *stream) {
	var from, kind, to, comment string
	s.object(func(key string) {
		switch key {
		case "spdxElementId":
			from = s.text()
		case "relationshipType":
			kind = s.text()
		case "relatedSpdxElement":
			to = s.text()
		case "comment":
			comment = s.text()
		default:
			s.skip()
		}
	})
	switch {
	case kind == "DESCRIBES" && from == "SPDXRef-DOCUMENT", kind == "DESCRIBED_BY" && to == "SPDXRef-DOCUMENT":
		d.described[to], d.described[from] = true, true
	case kind == "OTHER" && strings.HasPrefix(comment, "ownership-by-file-overlap"):
		d.own(from, to)
	}
}

// own notes that the package from has the files of to. Bills list packages first.
func (d *document) own(from, to string) {
	if d.owners == nil {
		d.owners = map[string]string{}
	}
	if len(d.owners) < d.limits.Components {
		d.owners[to] = from
	}
}
