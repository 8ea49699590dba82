// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"bytes"
	"strings"
)

func isRelease(name string) bool { return name == "etc/os-release" || name == "usr/lib/os-release" }

// parseRelease reads os-release(5): NAME=value lines, values perhaps quoted.
func parseRelease(data []byte) map[string]string {
	out := map[string]string{}
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		key, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if !ok || strings.HasPrefix(key, "#") || len(out) >= 100 {
			continue
		}
		value = strings.Trim(value, "\"'")
		out[safeText(key)] = safeText(value[:min(len(value), 200)])
	}
	return out
}

// osFrom tells the distribution, and what OSV calls it.
func osFrom(release map[string]string) OS {
	os := OS{ID: strings.ToLower(release["ID"]), VersionID: release["VERSION_ID"], Name: release["PRETTY_NAME"]}
	major, _, _ := strings.Cut(os.VersionID, ".")
	switch {
	case os.ID == "wolfi":
		os.Ecosystem = "Wolfi"
	case os.ID == "chainguard":
		os.Ecosystem = "Chainguard"
	case os.VersionID == "":
	case os.ID == "debian":
		os.Ecosystem = "Debian:" + major
	case os.ID == "ubuntu":
		os.Ecosystem = "Ubuntu:" + os.VersionID
	case os.ID == "alpine":
		os.Ecosystem = alpineEcosystem(os.VersionID)
	case os.ID == "rocky":
		os.Ecosystem = "Rocky Linux:" + major
	case os.ID == "almalinux":
		os.Ecosystem = "AlmaLinux:" + major
	}
	return os
}

// alpineEcosystem drops the patch level: "3.20.3" is "Alpine:v3.20". Edge has a
// date in its version and no branch of its own.
func alpineEcosystem(version string) string {
	parts := strings.Split(version, ".")
	if len(parts) < 2 || strings.ContainsAny(version, "_") {
		return ""
	}
	return "Alpine:v" + parts[0] + "." + parts[1]
}
