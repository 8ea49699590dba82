// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// families are the distributions that have advisories, by the kind of their packages.
var families = map[string][]string{
	"deb": {"Debian", "Ubuntu"},
	"apk": {"Alpine", "Wolfi", "Chainguard", "Alpaquita", "MinimOS"},
	"rpm": {"Red Hat", "AlmaLinux", "Rocky Linux", "SUSE", "openSUSE", "Azure Linux", "Mageia", "openEuler", "Photon OS"},
}

// vendors are how distributions sign their own RPMs, by the ID of os-release; the
// beginning counts.
var vendors = map[string][]string{
	"rocky": {"Rocky"}, "almalinux": {"AlmaLinux"}, "rhel": {"Red Hat"}, "centos": {"CentOS", "Red Hat"}, "fedora": {"Fedora Project"},
	"sles": {"SUSE"}, "sled": {"SUSE"}, "sles_sap": {"SUSE"}, "sle_hpc": {"SUSE"}, "sl-micro": {"SUSE"}, "sle-micro": {"SUSE"},
	"opensuse-leap": {"openSUSE", "SUSE"}, "opensuse-tumbleweed": {"openSUSE"},
	"amzn": {"Amazon"}, "ol": {"Oracle America"}, "azurelinux": {"Microsoft Corporation"}, "mariner": {"Microsoft Corporation"},
	"photon": {"VMware", "Broadcom"}, "mageia": {"Mageia"}, "openeuler": {"openEuler", "http://openeuler.org"},
}

func ofVendor(os OS, vendor string) bool {
	return slices.ContainsFunc(vendors[os.ID], func(own string) bool { return strings.HasPrefix(vendor, own) })
}

// finishDistroPackages writes what only the distribution tells: ecosystem and
// package URL. An RPM of another maker (EPEL's, a vendor's own) has no ecosystem:
// the distribution's advisories do not speak of it. That, and a distribution
// without advisories, package finding shows as a gap.
func finishDistroPackages(all []Component, os OS) []Problem {
	setEpochs(all)
	misfit := false
	family, _, _ := strings.Cut(os.Ecosystem, ":")
	for i := range all {
		c := &all[i]
		if !isDistroPackage(*c) {
			continue
		}
		kind, namespace := systemKind(c.Path), cmp.Or(os.ID, "unknown")
		fits := slices.Contains(families[kind], family)
		misfit = misfit || family != "" && !fits
		if kind == "rpm" && !ofVendor(os, c.Maintainer) {
			fits, namespace = false, vendorName(c.Maintainer)
		}
		if fits {
			c.Ecosystem = os.Ecosystem
		}
		c.PURL = distroPURL(kind, namespace, os, *c)
	}
	switch {
	case os.ID == "" && slices.ContainsFunc(all, isDistroPackage):
		return []Problem{{Path: "etc/os-release", Reason: "the image does not say which distribution its packages are of", Fatal: true}}
	case misfit:
		return []Problem{{Path: "etc/os-release", Reason: "the image says it is " + os.Ecosystem + ", yet has a package database of another kind", Fatal: true}}
	case os.Ecosystem != "" && !slices.ContainsFunc(all, isDistroPackage):
		return []Problem{{Path: "etc/os-release", Reason: "the image says it is " + os.Ecosystem + ", yet no package database was found in it", Fatal: true}}
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

func vendorName(vendor string) string {
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(vendor), "-"), "-")
	return cmp.Or(name, "unknown")
}

// setEpochs gives the source packages of RPMs their epoch, which the name of their
// file leaves out. The packages that have the source's version have its epoch: of
// perl 4:5.32.1-481 are perl-libs 4:5.32.1-481 and also perl-Carp 1.50-460.
func setEpochs(all []Component) {
	epochs := map[[2]string]string{}
	for _, c := range all {
		epoch, version := cutEpoch(c.Version)
		if systemKind(c.Path) == "rpm" && version == c.SourceVersion {
			epochs[[2]string{c.Source, version}] = epoch
		}
	}
	for i := range all {
		c := &all[i]
		epoch, known := epochs[[2]string{c.Source, c.SourceVersion}]
		own, _ := cutEpoch(c.Version)
		switch {
		case systemKind(c.Path) != "rpm":
		case known && (epoch != "0" || own != "0"):
			c.SourceVersion = epoch + ":" + c.SourceVersion
		case !known && own != "0":
			c.SourceVersion = own + ":" + c.SourceVersion
		}
	}
}

func cutEpoch(version string) (epoch, rest string) {
	if before, after, ok := strings.Cut(version, ":"); ok {
		return before, after
	}
	return "0", version
}
