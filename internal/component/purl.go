// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"net/url"
	"strings"

	"github.com/google/osv-scalibr/purl"
)

// languagePURL writes a package URL as the purl specification's type rules say:
// PyPI names in lower case with hyphens, npm scopes as namespace, Go module paths
// in lower case.
func languagePURL(kind, name, version string) string {
	switch kind {
	case purl.TypePyPi:
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	case purl.TypeGolang, purl.TypeComposer:
		name = strings.ToLower(name)
	}
	if version == "(devel)" { // a Go program built from a working copy
		return "pkg:" + kind + "/" + purlPath(name)
	}
	return "pkg:" + kind + "/" + purlPath(name) + "@" + purlEscape(version)
}

// distroPURL writes the package URL of a distribution package.
func distroPURL(kind string, os OS, c Component) string {
	u := "pkg:" + kind + "/" + purlEscape(strings.ToLower(orElse(os.ID, "unknown"))) + "/" + purlEscape(strings.ToLower(c.Name)) + "@" + purlEscape(c.Version)
	var qualifiers []string
	if c.Arch != "" {
		qualifiers = append(qualifiers, "arch="+purlEscape(c.Arch))
	}
	if os.ID != "" && os.VersionID != "" {
		qualifiers = append(qualifiers, "distro="+purlEscape(os.ID+"-"+os.VersionID))
	}
	if len(qualifiers) > 0 {
		u += "?" + strings.Join(qualifiers, "&")
	}
	return u
}

func purlPath(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = purlEscape(p)
	}
	return strings.Join(parts, "/")
}

// purlEscape percent-encodes; the colon stays, as the specification wants.
func purlEscape(s string) string {
	return strings.NewReplacer("+", "%20", "%3A", ":").Replace(url.QueryEscape(s))
}
