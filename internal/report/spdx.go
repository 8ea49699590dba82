// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/component"
)

// SPDX has words for "nobody says".
const noAssertion = "NOASSERTION"

type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	DataLicense   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Comment       string             `json:"comment,omitempty"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID               string         `json:"SPDXID"`
	Name             string         `json:"name"`
	Version          string         `json:"versionInfo,omitempty"`
	Download         string         `json:"downloadLocation"`
	FilesAnalyzed    bool           `json:"filesAnalyzed"`
	LicenseConcluded string         `json:"licenseConcluded"`
	LicenseDeclared  string         `json:"licenseDeclared"`
	LicenseComments  string         `json:"licenseComments,omitempty"`
	Copyright        string         `json:"copyrightText"`
	SourceInfo       string         `json:"sourceInfo,omitempty"`
	Purpose          string         `json:"primaryPackagePurpose,omitempty"`
	Checksums        []spdxChecksum `json:"checksums,omitempty"`
	Comment          string         `json:"comment,omitempty"`
	References       []spdxExternal `json:"externalRefs,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxExternal struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

// note writes what SPDX has no field for: pairs of name and value as one line of
// JSON behind a word that tells whose it is.
func note(pairs []string) string {
	m := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			m[pairs[i]] = pairs[i+1]
		}
	}
	text, err := json.Marshal(m)
	if len(m) == 0 || err != nil { // strings always encode
		return ""
	}
	return "goldkeep: " + string(text)
}

// SPDX writes the components as SPDX 2.3 in JSON
// (https://spdx.github.io/spdx-spec/v2.3/). SPDX 2.3 has no place for findings.
func SPDX(w io.Writer, r Result) error {
	ev := presentable(r)
	const imageID = "SPDXRef-Image"
	doc := spdxDocument{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: imageName(ev.Image),
		Namespace: "https://goldkeep.dev/spdx/" + uuidOf(ev.Image.ID+" "+r.Time.UTC().Format(time.RFC3339)),
		Creation:  spdxCreation{Created: r.Time.UTC().Format("2006-01-02T15:04:05Z"), Creators: []string{"Tool: goldkeep-" + r.Version}},
	}
	if doc.Name == "" {
		doc.Name = "image"
	}
	image := newSPDXPackage(imageID, doc.Name, ev.Image.ID)
	image.Purpose = "CONTAINER"
	if hex, ok := strings.CutPrefix(ev.Image.ID, "sha256:"); ok && len(hex) == 64 {
		image.Checksums = []spdxChecksum{{"SHA256", hex}}
	}
	doc.Packages = append(doc.Packages, image)
	doc.Relationships = append(doc.Relationships, spdxRelationship{doc.ID, "DESCRIBES", imageID})
	if ev.OS.ID != "" {
		system := newSPDXPackage("SPDXRef-OperatingSystem", ev.OS.ID, ev.OS.VersionID)
		system.Purpose, system.SourceInfo = "OPERATING_SYSTEM", ev.OS.Name
		doc.Packages = append(doc.Packages, system)
		doc.Relationships = append(doc.Relationships, spdxRelationship{imageID, "CONTAINS", system.ID})
	}
	doc.Comment = note(append(unseen(ev), "platform", ev.Image.Platform, "ports", strings.Join(ev.Image.Ports, " ")))
	names := newRefs(ev.Components)
	for i, c := range ev.Components {
		p := spdxComponent("SPDXRef-"+names.list[i], c)
		doc.Packages = append(doc.Packages, p)
		doc.Relationships = append(doc.Relationships, spdxRelationship{imageID, "CONTAINS", p.ID})
	}
	return encode(w, doc)
}

func spdxComponent(id string, c component.Component) spdxPackage {
	p := newSPDXPackage(id, c.Name, c.Version)
	p.SourceInfo = fmt.Sprintf("found in %s, layer %d %s", c.Path, c.LayerIndex, c.Layer)
	p.LicenseComments = strings.Join(c.Licenses, "; ")
	p.Comment = note(details(c))
	if c.PURL != "" {
		p.References = []spdxExternal{{"PACKAGE-MANAGER", "purl", c.PURL}}
	}
	return p
}

func newSPDXPackage(id, name, version string) spdxPackage {
	return spdxPackage{
		ID: id, Name: name, Version: version, Download: noAssertion, LicenseConcluded: noAssertion,
		LicenseDeclared: noAssertion, Copyright: noAssertion,
	}
}
