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
	case os.ID == "minimos":
		os.Ecosystem = "MinimOS"
	case os.ID == "opensuse-tumbleweed":
		os.Ecosystem = "openSUSE:Tumbleweed"
	case os.VersionID == "":
	case os.ID == "debian":
		os.Ecosystem = "Debian:" + major
	case os.ID == "ubuntu":
		os.Ecosystem = "Ubuntu:" + os.VersionID
	case os.ID == "alpaquita":
		os.Ecosystem = "Alpaquita:" + os.VersionID
	case os.ID == "alpine":
		os.Ecosystem = alpineEcosystem(os.VersionID)
	default:
		os.Ecosystem = rpmEcosystem(os, major, release["VERSION"])
	}
	return os
}

// rpmEcosystem is what OSV calls the distributions that use RPM; "" for those
// without advisories there (Amazon, CentOS, Fedora, Oracle).
func rpmEcosystem(os OS, major, version string) string {
	switch os.ID {
	case "rocky":
		return "Rocky Linux:" + major
	case "almalinux":
		return "AlmaLinux:" + major
	case "rhel":
		return "Red Hat:" + major
	case "sles", "sled", "sles_sap", "sle_hpc":
		_, pack, ok := strings.Cut(os.VersionID, ".")
		if major == "16" || !ok {
			return "SUSE:" + os.VersionID
		}
		return "SUSE:" + major + " SP" + pack
	case "sle-micro":
		return "SUSE:Linux Enterprise Micro " + os.VersionID
	case "sl-micro":
		return "SUSE:Linux Micro " + os.VersionID
	case "opensuse-leap":
		return "openSUSE:Leap " + os.VersionID
	case "azurelinux", "mariner":
		return "Azure Linux:" + major
	case "mageia":
		return "Mageia:" + major
	case "photon":
		return "Photon OS:" + os.VersionID
	case "openeuler": // "22.03 (LTS-SP3)" is "22.03-LTS-SP3"
		return "openEuler:" + strings.NewReplacer(" (", "-", ")", "").Replace(version)
	}
	return ""
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
