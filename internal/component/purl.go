// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"strings"

	"github.com/goldkeep/goldkeep/internal/extract"
)

// distroPURL writes the package URL of a distribution package. That of an RPM has
// its epoch apart, and the module it is of ("rpmmod").
func distroPURL(kind, namespace string, os OS, c Component) string {
	name, version, epoch := strings.ToLower(c.Name), c.Version, ""
	if kind == "rpm" {
		name = c.Name // of all the types only this one tells cases apart
		if before, after, ok := strings.Cut(version, ":"); ok {
			epoch, version = before, after
		}
	}
	u := "pkg:" + kind + "/" + extract.Escape(strings.ToLower(namespace)) + "/" + extract.Escape(name) + "@" + extract.Escape(version)
	distro := ""
	if os.ID != "" && os.VersionID != "" {
		distro = os.ID + "-" + os.VersionID
	}
	mark := "?"
	for _, q := range [][2]string{{"arch", c.Arch}, {"distro", distro}, {"epoch", epoch}, {"rpmmod", c.Module}} {
		if q[1] != "" {
			u += mark + q[0] + "=" + extract.Escape(q[1])
			mark = "&"
		}
	}
	return u
}
