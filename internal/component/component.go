// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package component finds what is in a layer and in an image: packages with the
// layer that brought them, and facts about files (set-uid, shells, credentials).
//
// A layer is read once, as a stream, into a LayerReport that depends on nothing
// but the layer, so that it can be kept by its DiffID: a derived image costs only
// its own layers. Join then computes the image's final view from the reports.
package component

import (
	"github.com/goldkeep/goldkeep/internal/extract"
	"github.com/goldkeep/goldkeep/internal/image"
)

// Component is one package of an image.
type Component struct {
	PURL          string       `json:"purl"`      // normalised, see docs/design/component.md
	Ecosystem     string       `json:"ecosystem"` // as in OSV: "Debian:12", "PyPI", "Go", "npm"; "" where no feed covers it
	Name          string       `json:"name"`      // as the ecosystem writes it
	Version       string       `json:"version"`
	Source        string       `json:"source,omitempty"`        // source package, where the distribution has one
	SourceVersion string       `json:"sourceVersion,omitempty"` // its version: the one advisories speak of
	Arch          string       `json:"arch,omitempty"`
	Module        string       `json:"module,omitempty"` // RPM: module and stream it is of, "nodejs:18"
	Path          string       `json:"path"`             // the file it was found in; in an archive "app.jar!/lib/x.jar"
	Inside        string       `json:"inside,omitempty"` // in a LayerReport: the part of Path behind "!/"
	Layer         image.Digest `json:"layer"`            // DiffID of the layer that brought this version
	LayerIndex    int          `json:"layerIndex"`
	Owner         string       `json:"owner,omitempty"`    // the distribution package that owns the file: its advisories count, not the upstream's
	Main          bool         `json:"main,omitempty"`     // the main module of a Go program: not matched
	Packages      []string     `json:"packages,omitempty"` // Go packages linked in, where known (evidence, see finding)
	Licenses      []string     `json:"licenses,omitempty"`
	Maintainer    string       `json:"maintainer,omitempty"` // as the distribution package states it
}

// componentOf is a package that a file of a layer names.
func componentOf(p extract.Package, path string) Component {
	return Component{
		PURL: p.PURL, Ecosystem: p.Ecosystem, Name: p.Name, Version: p.Version, Source: p.Source, SourceVersion: p.SourceVersion,
		Arch: p.Arch, Module: p.Module, Path: path, Inside: p.Inside, Main: p.Main, Packages: p.Packages, Licenses: p.Licenses, Maintainer: p.Maintainer,
	}
}

// Fact is something about the files of an image that rules may ask for.
type Fact struct {
	Kind       FactKind     `json:"kind"`
	Path       string       `json:"path"` // file; "env NAME", "label NAME" or "history[3]" for the config
	Layer      image.Digest `json:"layer,omitempty"`
	LayerIndex int          `json:"layerIndex"`
	Detail     string       `json:"detail,omitempty"`  // "RSA private key", "mode 4755"; never the secret itself
	Deleted    bool         `json:"deleted,omitempty"` // removed by a later layer, yet still in the image for all to read
}

// FactKind is a kind of Fact.
type FactKind string

// The kinds of fact.
const (
	Shell          FactKind = "shell"
	PackageManager FactKind = "packageManager"
	Compiler       FactKind = "compiler"
	NetworkTool    FactKind = "networkTool"
	SetUID         FactKind = "setuid"
	Capability     FactKind = "fileCapability"
	WorldWritable  FactKind = "worldWritable"
	EmbeddedSecret FactKind = "embeddedSecret"
	RootUser       FactKind = "rootUser"
	UnpinnedBase   FactKind = "unpinnedBase"
	RemoteLogin    FactKind = "remoteLogin"    // an exposed ssh or telnet port, or a server for it
	Duplicate      FactKind = "duplicateEntry" // a path twice in one layer: a tool that shows the first is misled
)

// Inventory is all that was found in an image.
type Inventory struct {
	OS         OS          `json:"os"`
	Components []Component `json:"components"`
	Facts      []Fact      `json:"facts"`
	Problems   []Problem   `json:"problems"`       // what could not be read: never silently clean
	Base       string      `json:"base,omitempty"` // base image named by annotation, or ""
}

// OS is the distribution of an image; empty for FROM scratch.
type OS struct {
	ID        string `json:"id"`
	VersionID string `json:"versionId"`
	Name      string `json:"name"`
	Ecosystem string `json:"ecosystem"` // "Debian:12"; "" where not known
}

// Problem is a part of the image that could not be looked at.
type Problem struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
	Fatal  bool   `json:"fatal"` // something may have been missed: the verdict is unknown
	// Uncovered: no feed can speak for what is in it, which a rule may accept (a
	// gap, see package finding).
	Uncovered bool `json:"uncovered,omitempty"`
}
