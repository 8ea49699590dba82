// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex_test

import (
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/vex"
)

// TestNothingElseIsCovered: a claim covers the flaw and the packages it names, and
// nothing beside them.
func TestNothingElseIsCovered(t *testing.T) {
	bundle := finding.Finding{
		ID: "DSA-1", Aliases: []string{"CVE-1", "CVE-2"}, Ecosystem: "Debian:12", Package: "openssl", Version: "3.0.1-1",
		PURL: "pkg:deb/debian/libssl3@3.0.1-1?arch=amd64&distro=debian-12", Binaries: []string{"libssl3", "openssl"},
	}
	one := finding.Finding{
		ID: "GO-1", Aliases: []string{"CVE-1", "GHSA-1"}, Ecosystem: "Go", Package: "github.com/BurntSushi/toml", Version: "1.2.0",
		PURL: "pkg:golang/github.com/burntsushi/toml@v1.2.0",
	}
	python := finding.Finding{ID: "PYSEC-1", Ecosystem: "PyPI", Package: "Flask_Cors", Version: "3.0", PURL: "pkg:pypi/flask-cors@3.0"}
	npm := finding.Finding{ID: "GHSA-1", Ecosystem: "npm", Package: "@scope/name", Version: "1.0.0", PURL: "pkg:npm/%40scope/name@1.0.0"}
	rpm := finding.Finding{
		ID: "RHSA-1", Aliases: []string{"CVE-1"}, Ecosystem: "Red Hat:9", Package: "openssl", Version: "1:3.0.7-1.el9", Binaries: []string{"openssl-libs"},
		PURL: "pkg:rpm/redhat/openssl-libs@3.0.7-1.el9?arch=x86_64&epoch=1",
	}
	merged := finding.Finding{ID: "CVE-1", Aliases: []string{"CVE-2"}, Ecosystem: "npm", Package: "x", Version: "1", PURL: "pkg:npm/x@1"}
	claim := func(names, packages string) vex.Claim {
		return vex.Claim{Names: strings.Fields(names), Packages: strings.Fields(packages)}
	}
	for _, c := range []struct {
		name   string
		f      finding.Finding
		claims []vex.Claim
		want   bool
	}{
		{"nothing", one, nil, false},
		{"the id", one, []vex.Claim{claim("GO-1", "")}, true},
		{"an alias", one, []vex.Claim{claim("GHSA-1", "")}, true},
		{"an alias of the claim", one, []vex.Claim{claim("X-1 GHSA-1", "")}, true},
		{"another flaw", one, []vex.Claim{claim("CVE-2", "")}, false},
		{"part of a name", one, []vex.Claim{claim("CVE-", "")}, false},
		{"no name", one, []vex.Claim{claim("", "")}, false},
		{"the package in lower case", one, []vex.Claim{claim("CVE-1", "pkg:golang/github.com/burntsushi/toml")}, true},
		{"the package with version", one, []vex.Claim{claim("CVE-1", "pkg:golang/github.com/BurntSushi/toml@v1.2.0")}, true},
		{"another version", one, []vex.Claim{claim("CVE-1", "pkg:golang/github.com/BurntSushi/toml@v1.2.1")}, false},
		{"a part of it", one, []vex.Claim{claim("CVE-1", "pkg:golang/github.com/BurntSushi/toml#cmd")}, false},
		{"a longer path", one, []vex.Claim{claim("CVE-1", "pkg:golang/github.com/BurntSushi/toml/v2")}, false},
		{"another package", one, []vex.Claim{claim("CVE-1", "pkg:golang/github.com/BurntSushi/yaml")}, false},
		{"another ecosystem", one, []vex.Claim{claim("CVE-1", "pkg:npm/github.com/BurntSushi/toml")}, false},
		{"by its plain name", one, []vex.Claim{claim("CVE-1", "github.com/BurntSushi/toml")}, true},
		{"a component that has no name", one, []vex.Claim{{Names: []string{"CVE-1"}, Packages: []string{""}}}, false},

		{"the advisory of a bundle", bundle, []vex.Claim{claim("DSA-1", "")}, true},
		{"one CVE of a bundle", bundle, []vex.Claim{claim("CVE-1", "")}, false},
		{"all CVEs of a bundle", bundle, []vex.Claim{claim("CVE-1", ""), claim("CVE-2", "")}, true},
		{"all CVEs, one for another package", bundle, []vex.Claim{claim("CVE-1", ""), claim("CVE-2", "zlib")}, false},
		{"the source package", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/openssl?arch=source")}, true},
		{"its plain name", bundle, []vex.Claim{claim("DSA-1", "openssl")}, true},
		{"one installed package", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/libssl3")}, false},
		{"one installed package of the source's name", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/openssl?arch=amd64")}, false},
		{"both installed packages", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/libssl3"), claim("DSA-1", "pkg:deb/debian/openssl?arch=amd64")}, true},
		{"its release", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/openssl?arch=source&distro=debian-12")}, true},
		{"its point release", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/openssl?distro=debian-12.5")}, true},
		{"its release by name", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/openssl?distro=bookworm")}, true},
		{"another release", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/openssl?distro=debian-13")}, false},
		{"another release by name", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/openssl?distro=trixie")}, false},
		{"another distribution", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/ubuntu/openssl")}, false},
		{"another machine", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/libssl3?arch=arm64"), claim("DSA-1", "pkg:deb/debian/openssl?arch=arm64")}, false},
		{"the source's version", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/openssl@3.0.1-1?arch=source")}, true},
		{"another source version", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/openssl@3.0.1-2?arch=source")}, false},
		{"a demand the finding does not meet", bundle, []vex.Claim{claim("DSA-1", "pkg:deb/debian/openssl?repository_url=https://x.example")}, false},

		{"PyPI's spelling", python, []vex.Claim{claim("PYSEC-1", "pkg:pypi/flask.cors")}, true},
		{"npm's scope, escaped", npm, []vex.Claim{claim("GHSA-1", "pkg:npm/%40scope/name")}, true},
		{"npm's scope, not escaped", npm, []vex.Claim{claim("GHSA-1", "pkg:npm/@scope/name@1.0.0")}, true},
		{"npm without the scope", npm, []vex.Claim{claim("GHSA-1", "pkg:npm/name")}, false},
		{"RPM with its epoch", rpm, []vex.Claim{claim("CVE-1", "pkg:rpm/redhat/openssl@3.0.7-1.el9?arch=src&epoch=1")}, true},
		{"RPM with another epoch", rpm, []vex.Claim{claim("CVE-1", "pkg:rpm/redhat/openssl@3.0.7-1.el9?arch=src&epoch=2")}, false},
		{"two CVEs of one flaw, one named", merged, []vex.Claim{claim("CVE-1", "")}, false},
		{"two CVEs of one flaw, both named", merged, []vex.Claim{claim("CVE-1 CVE-2", "")}, true},
	} {
		if got := vex.Covered(c.f, c.claims); got != c.want {
			t.Errorf("%s: covered %v, want %v", c.name, got, c.want)
		}
	}
}
