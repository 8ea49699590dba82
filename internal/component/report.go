// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"slices"

	"github.com/goldkeep/goldkeep/internal/extract"
	"github.com/goldkeep/goldkeep/internal/image"
)

// ReportVersion is the format of LayerReport, and of what is found at all. A kept
// report with another version must be thrown away and the layer read again.
const ReportVersion = 6

// LayerReport is all that one layer says. It depends on nothing but the layer, and
// survives encoding to JSON and back unchanged, so it can be kept by DiffID.
// Blobs alone is about where it was read: the layer's digests as stored.
type LayerReport struct {
	Version    int                          `json:"version"`
	DiffID     image.Digest                 `json:"diffId"`
	Paths      []string                     `json:"paths"`               // all entries, sorted; folders end in "/"
	Links      map[string]string            `json:"links,omitempty"`     // symbolic links: path to target as written
	Whiteouts  []string                     `json:"whiteouts,omitempty"` // paths of lower layers that this layer removes, sorted
	Opaque     []string                     `json:"opaque,omitempty"`    // folders whose lower contents this layer hides, sorted
	Components []Component                  `json:"components,omitempty"`
	Facts      []Fact                       `json:"facts,omitempty"`
	Owned      []OwnedFiles                 `json:"owned,omitempty"`
	Releases   map[string]map[string]string `json:"releases,omitempty"` // os-release files by path
	Problems   []Problem                    `json:"problems,omitempty"`
	Unread     bool                         `json:"unread,omitempty"` // the layer itself could not be opened
	Limits     image.Limits                 `json:"limits,omitzero"`  // those it was read under; zero: the defaults
	Blobs      []image.Digest               `json:"blobs,omitempty"`  // blobs that were unpacked and are this layer, the last known first
}

// OwnedFiles are the files a distribution package put in place, as far as they
// may hold components: no manual pages.
type OwnedFiles struct {
	Path  string              `json:"path"`  // the list, or the database that holds it
	Files map[string][]string `json:"files"` // package to paths
}

// Usable reports whether a kept report may be used instead of reading the layer.
func (r *LayerReport) Usable() bool { return r != nil && r.Version == ReportVersion && !r.Unread }

// Tells reports whether a kept report may be used instead of reading a layer: it
// must also be proven that the blob is the layer its image's config says. Else the
// manifest of an image could name any blob for a layer that is known.
func (r *LayerReport) Tells(layer image.Layer) bool {
	return r.Usable() && r.DiffID == layer.DiffID &&
		(layer.Digest == "" || layer.Digest == layer.DiffID || slices.Contains(r.Blobs, layer.Digest))
}

// maxBlobs bounds the blobs remembered of one layer; tools compress differently.
const maxBlobs = 16

// Proven adds to a report that a blob was read and is its layer. before is what
// was kept of the layer until now; nil: nothing.
func (r *LayerReport) Proven(blob image.Digest, before *LayerReport) *LayerReport {
	kept := *r
	kept.Blobs = nil
	if blob != "" && blob != r.DiffID {
		kept.Blobs = append(kept.Blobs, blob)
	}
	if before.Usable() && before.DiffID == r.DiffID {
		for _, b := range before.Blobs {
			if b != blob && len(kept.Blobs) < maxBlobs {
				kept.Blobs = append(kept.Blobs, b)
			}
		}
	}
	return &kept
}

// safeText makes a name from an image fit for JSON and for a terminal.
func safeText(s string) string { return extract.SafeText(s) }

func orElse(s, instead string) string {
	if s == "" {
		return instead
	}
	return safeText(s)
}

func contains(sorted []string, s string) bool {
	_, found := slices.BinarySearch(sorted, s)
	return found
}
