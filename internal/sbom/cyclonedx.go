// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"io"
	"strings"
)

// read reads a document of either form: the keys of the two differ.
func (d *document) read(r io.Reader) error {
	s := newStream(r)
	s.object(func(key string) {
		switch key {
		case "bomFormat":
			if s.text() == "CycloneDX" {
				d.format = "CycloneDX"
			}
		case "specVersion":
			d.version = s.text()
		case "metadata":
			d.metadata(s)
		case "components":
			s.array(func() { d.component(s, 0) })
		case "compositions":
			s.array(func() { d.composition(s) })
		default:
			d.spdx(s, key)
		}
	})
	return s.err
}

func (d *document) metadata(s *stream) {
	s.object(func(key string) {
		switch key {
		case "timestamp":
			d.created = s.text()
		case "tools":
			d.readTools(s)
		case "component":
			about := item{props: map[string]string{}}
			s.object(func(key string) { d.field(s, &about, key, maxNested) })
			d.name = about.name
			for name, value := range about.props {
				d.props[name] = value
			}
		default:
			s.skip()
		}
	})
}

// readTools reads the list of 1.4, and the object with components of 1.5.
func (d *document) readTools(s *stream) {
	one := func() {
		var name, version string
		s.object(func(key string) {
			switch key {
			case "name":
				name = s.text()
			case "version":
				version = s.text()
			default:
				s.skip()
			}
		})
		if name != "" && len(d.tools) < 5 {
			d.tools = append(d.tools, strings.TrimSpace(name+" "+version))
		}
	}
	s.either(func(key string) {
		if key == "components" {
			s.array(one)
			return
		}
		s.skip()
	}, one)
}

// maxNested is how deep components may lie in one another.
const maxNested = 16

// component reads one component and those in it.
func (d *document) component(s *stream, depth int) {
	i := item{props: map[string]string{}}
	s.object(func(key string) { d.field(s, &i, key, depth) })
	if s.err == nil {
		s.err = d.add(i)
	}
}

func (d *document) field(s *stream, i *item, key string, depth int) {
	switch key {
	case "bom-ref":
		i.ref = s.text()
	case "type":
		i.kind = s.text()
	case "group":
		i.group = s.text()
	case "name":
		i.name = s.text()
	case "version":
		i.version = s.text()
	case "purl":
		i.purl = s.text()
	case "description":
		i.found = s.text()
	case "publisher":
		i.maker = s.text()
	case "supplier":
		s.object(func(key string) {
			if name := s.text(); key == "name" && i.maker == "" {
				i.maker = name
			}
		})
	case "licenses":
		s.array(func() { i.license(s) })
	case "properties":
		s.array(func() { i.property(s) })
	case "evidence":
		i.evidence(s)
	case "components":
		if depth >= maxNested {
			s.skip()
			d.partial = "components lie too deep in one another"
			return
		}
		s.array(func() { d.component(s, depth+1) })
	default:
		s.skip()
	}
}

// license reads {license: {id, name}} or {expression}.
func (i *item) license(s *stream) {
	add := func(text string) {
		if text != "" && len(i.licenses) < 20 {
			i.licenses = append(i.licenses, shown(text))
		}
	}
	s.object(func(key string) {
		switch key {
		case "expression":
			add(s.text())
		case "license":
			s.object(func(key string) {
				if key == "id" || key == "name" {
					add(s.text())
					return
				}
				s.skip()
			})
		default:
			s.skip()
		}
	})
}

// property keeps those that tell what the format has no field for.
func (i *item) property(s *stream) {
	var name, value string
	s.object(func(key string) {
		switch key {
		case "name":
			name = s.text()
		case "value":
			value = s.text()
		default:
			s.skip()
		}
	})
	for _, p := range []struct{ prefix, as string }{
		{"goldkeep:", ""},
		{"syft:location:0:path", "path"},
		{"syft:location:0:layerID", "layer"},
		{"syft:distro:id", "distroId"},
		{"syft:distro:versionID", "distroVersion"},
		{"syft:distro:prettyName", "distroName"},
		{"aquasecurity:trivy:FilePath", "path"},
		{"aquasecurity:trivy:LayerDiffID", "layer"},
		{"aquasecurity:trivy:SrcName", "source"},
		{"aquasecurity:trivy:SrcVersion", "trivyVersion"},
		{"aquasecurity:trivy:SrcRelease", "trivyRelease"},
		{"aquasecurity:trivy:SrcEpoch", "trivyEpoch"},
		{"aquasecurity:trivy:Type", "trivyType"},
	} {
		if p.as == "" && strings.HasPrefix(name, p.prefix) && len(i.props) < 50 {
			i.props[strings.TrimPrefix(name, p.prefix)] = value
			return
		}
		if p.as != "" && name == p.prefix {
			i.props[p.as] = value
			return
		}
	}
}

// evidence reads where a component was found.
func (i *item) evidence(s *stream) {
	s.object(func(key string) {
		if key != "occurrences" {
			s.skip()
			return
		}
		s.array(func() {
			s.object(func(key string) {
				if key != "location" {
					s.skip()
					return
				}
				if where := s.text(); i.props["path"] == "" {
					i.props["path"] = where
				}
			})
		})
	})
}

// composition reads whether the list is whole.
func (d *document) composition(s *stream) {
	s.object(func(key string) {
		if key != "aggregate" {
			s.skip()
			return
		}
		switch a := s.text(); a {
		case "incomplete", "incomplete_first_party_only", "incomplete_third_party_only":
			d.partial = "it says itself that it is incomplete"
		}
	})
}
