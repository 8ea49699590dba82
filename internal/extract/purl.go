// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"net/url"
	"strings"

	"github.com/google/osv-scalibr/purl"
)

// PURL writes a package URL as the purl specification's type rules say:
// PyPI names in lower case with hyphens, npm scopes as namespace, Go module paths
// in lower case.
func PURL(kind, name, version string) string {
	switch kind {
	case purl.TypePyPi:
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	case purl.TypeGolang, purl.TypeComposer:
		name = strings.ToLower(name)
	case purl.TypeMaven:
		name = strings.Replace(name, ":", "/", 1)
	}
	if version == "(devel)" { // a Go program built from a working copy
		return "pkg:" + kind + "/" + purlPath(name)
	}
	return "pkg:" + kind + "/" + purlPath(name) + "@" + Escape(version)
}

func purlPath(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = Escape(p)
	}
	return strings.Join(parts, "/")
}

// Escape percent-encodes a part of a package URL; the colon stays, as the
// specification wants.
func Escape(s string) string {
	return strings.NewReplacer("+", "%20", "%3A", ":").Replace(url.QueryEscape(s))
}
