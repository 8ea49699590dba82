// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
)

// inventory reads files, in pairs of name and text, as the one layer of an image.
func inventory(t *testing.T, files ...string) component.Inventory {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for pair := range slices.Chunk(files, 2) {
		if err := w.WriteHeader(&tar.Header{Name: pair[0], Mode: 0o644, Size: int64(len(pair[1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data := out.Bytes()
	img := &image.Image{Layers: []image.Layer{{
		DiffID: image.DigestOf(data), Size: int64(len(data)),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}}}
	reports, err := component.ReadLayers(t.Context(), img, image.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	inv := component.Join(img, reports)
	for _, p := range inv.Problems {
		if p.Fatal {
			t.Error(p)
		}
	}
	return *inv
}

func unzipped(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// jar makes an archive that Maven would name so, in an archive.
func jar(t *testing.T, group, artifact, version string) string {
	t.Helper()
	pack := func(name, text string) string {
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	inner := pack("META-INF/maven/"+group+"/"+artifact+"/pom.properties", "version="+version+"\ngroupId="+group+"\nartifactId="+artifact+"\n")
	return pack("BOOT-INF/lib/"+artifact+".jar", inner)
}

// TestEcosystems goes the whole way, from the bytes of a layer to findings: what
// is hit, what is fixed, and what speaks of another release or another package.
func TestEcosystems(t *testing.T) {
	rocky := []string{
		"etc/os-release", "ID=\"rocky\"\nVERSION_ID=\"9.4\"\nPRETTY_NAME=\"Rocky Linux 9.4\"\n",
		"var/lib/rpm/rpmdb.sqlite", unzipped(t, "../extract/testdata/rpm/rpmdb.sqlite.gz"),
		"usr/lib/python3.9/site-packages/idna-2.10.dist-info/METADATA", "Name: idna\nVersion: 2.10\n",
	}
	program, err := os.ReadFile("testdata/rust-app") // an ELF file with nothing but the section .dep-v0, made for this test
	if err != nil {
		t.Fatal(err)
	}
	rust := string(program)
	release := func(id, version string) []string {
		return []string{"etc/os-release", "ID=" + id + "\nVERSION_ID=\"" + version + "\"\nPRETTY_NAME=\"" + id + "\"\n"}
	}
	manifest := func(vendor, name, version, source string) []string {
		return []string{"var/lib/rpmmanifest/container-manifest-2", strings.Join([]string{name, version, "1", "1", vendor, "(none)", "0", "x86_64", "0", source + "-" + version + ".src.rpm"}, "\t") + "\n"}
	}
	tests := map[string]struct {
		files []string
		feed  []string
		want  string
		gaps  []string
	}{
		"RPM by source, with epoch, once for all its packages": {rocky, []string{
			rec("RLSA-1", "", "Rocky Linux:9", "openssl", below("ECOSYSTEM", "1:3.0.7-28.el9")),
			rec("RLSA-2", "", "Rocky Linux:9", "openssl", below("ECOSYSTEM", "1:3.0.7-27.el9")),
			rec("RLSA-3", "", "Rocky Linux:8", "openssl", below("ECOSYSTEM", "1:3.0.7-28.el9")),
			rec("ALSA-1", "", "AlmaLinux:9", "openssl", below("ECOSYSTEM", "1:3.0.7-28.el9")),
			rec("RLSA-4", "", "Rocky Linux:9", "openssl", below("ECOSYSTEM", "0:9.9.9-1.el9")), // the epoch decides
		}, "RLSA-1 openssl 1:3.0.7-27.el9 -> 1:3.0.7-28.el9", []string{"pkg:rpm/fedora-project"}},
		"RPM by the name of what is installed": {rocky, []string{
			rec("RLSA-1", "", "Rocky Linux:9", "openssl-libs", below("ECOSYSTEM", "1:3.0.7-28.el9")),
			rec("RLSA-2", "", "Rocky Linux:9", "perl-Carp", below("ECOSYSTEM", "1.50-460.el9")),
			rec("RLSA-3", "", "Rocky Linux:9", "perl", below("ECOSYSTEM", "4:5.32.1-481.el9")), // perl-Carp 1.50 is of that, too
		}, "RLSA-1 openssl-libs 1:3.0.7-27.el9 -> 1:3.0.7-28.el9", []string{"pkg:rpm/fedora-project"}},
		"RPM of another maker": {rocky, []string{
			rec("RLSA-1", "", "Rocky Linux:9", "htop", below("ECOSYSTEM", "9-1.el9")),
		}, "", []string{"pkg:rpm/fedora-project"}},
		"a Python package an RPM owns": {rocky, []string{
			rec("PYSEC-1", "", "PyPI", "idna", below("ECOSYSTEM", "3.7")), rec("RLSA-9", "", "Rocky Linux:9", "other", below("ECOSYSTEM", "1")),
		}, "PYSEC-1 idna 2.10 -> 3.7 (owned by python3-idna)", []string{"pkg:rpm/fedora-project"}},
		"Azure Linux": {slices.Concat(release("azurelinux", "3.0"), manifest("Microsoft Corporation", "openssl-libs", "3.3.0-1.azl3", "openssl")), []string{
			rec("AZL-1", "", "Azure Linux:3", "openssl", below("ECOSYSTEM", "3.3.2-1.azl3")), rec("AZL-2", "", "Azure Linux:2", "openssl", below("ECOSYSTEM", "9")),
		}, "AZL-1 openssl 3.3.0-1.azl3 -> 3.3.2-1.azl3", nil},
		"SUSE, by a module of the product": {slices.Concat(release("sles", "15.5"), manifest("SUSE LLC <https://www.suse.com/>", "libopenssl1_1", "1.1.1l-150500.17.9.1", "openssl-1_1")), []string{
			rec("SUSE-SU-1", "", "SUSE:Linux Enterprise Module for Basesystem 15 SP5", "openssl-1_1", below("ECOSYSTEM", "1.1.1l-150500.17.12.1")),
			rec("SUSE-SU-2", "", "SUSE:Linux Enterprise Module for Basesystem 15 SP4", "openssl-1_1", below("ECOSYSTEM", "9")),
		}, "SUSE-SU-1 openssl-1_1 1.1.1l-150500.17.9.1 -> 1.1.1l-150500.17.12.1", nil},
		"Red Hat, by the name of its product": {slices.Concat(release("rhel", "9.4"), manifest("Red Hat, Inc.", "bash", "5.1.8-6.el9", "bash")), []string{
			rec("RHSA-1", "", "Red Hat:enterprise_linux:9::baseos", "bash", below("ECOSYSTEM", "0:5.1.8-9.el9")),
			rec("RHSA-2", "", "Red Hat:enterprise_linux:8::baseos", "bash", below("ECOSYSTEM", "0:9-1.el8")),
		}, "RHSA-1 bash 5.1.8-6.el9 -> 0:5.1.8-9.el9", nil},
		"Amazon Linux: no advisories": {slices.Concat(release("amzn", "2023"), manifest("Amazon Linux", "bash", "5.2-1.amzn2023", "bash")), nil, "", []string{"pkg:rpm/amzn"}},
		"Arch: no advisories":         {slices.Concat(release("arch", "1"), []string{"var/lib/pacman/local/bash-5.2-1/desc", "%NAME%\nbash\n\n%VERSION%\n5.2-1\n"}), nil, "", []string{"pkg:alpm/arch"}},
		"Maven": {[]string{"app.jar", jar(t, "org.apache.logging.log4j", "log4j-core", "2.14.1"), "new.jar", jar(t, "org.apache.logging.log4j", "log4j-core", "2.17.1")}, []string{
			rec("GHSA-1", "", "Maven", "org.apache.logging.log4j:log4j-core", below("ECOSYSTEM", "2.15.0")),
			rec("GHSA-2", "", "Maven", "other:log4j-core", below("ECOSYSTEM", "9")),
		}, "GHSA-1 org.apache.logging.log4j:log4j-core 2.14.1 -> 2.15.0", nil},
		"RubyGems": {[]string{
			"usr/local/bundle/specifications/rack-2.2.3.gemspec", "Gem::Specification.new do |s|\n  s.name = \"rack\".freeze\n  s.version = \"2.2.3\"\nend\n",
			"usr/local/bundle/specifications/puma-6.0.0.gemspec", "Gem::Specification.new do |s|\n  s.name = \"puma\".freeze\n  s.version = \"6.0.0\"\nend\n",
		}, []string{
			rec("GHSA-1", "", "RubyGems", "rack", below("ECOSYSTEM", "2.2.3.1")), rec("GHSA-2", "", "RubyGems", "rack", below("ECOSYSTEM", "2.2.3.rc1")),
			rec("GHSA-3", "", "RubyGems", "puma", below("ECOSYSTEM", "6.0.0.beta1")),
		}, "GHSA-1 rack 2.2.3 -> 2.2.3.1", nil},
		"crates.io, of a program built with cargo-auditable": {[]string{"usr/bin/app", rust}, []string{
			rec("RUSTSEC-1", "", "crates.io", "time", below("SEMVER", "0.2.0")), rec("RUSTSEC-2", "", "crates.io", "smallvec", below("SEMVER", "1.13.2")),
			rec("RUSTSEC-3", "", "crates.io", "app", below("SEMVER", "9.0.0")),
		}, "RUSTSEC-1 time 0.1.40 -> 0.2.0", nil},
		"Packagist": {[]string{"app/vendor/composer/installed.json", `{"packages":[{"name":"symfony/http-kernel","version":"v4.4.0-RC1"},{"name":"a/b","version":"dev-main"}]}`}, []string{
			rec("GHSA-1", "", "Packagist", "symfony/http-kernel", below("ECOSYSTEM", "4.4")), rec("GHSA-2", "", "Packagist", "symfony/http-kernel", below("ECOSYSTEM", "4.4.0-beta2")),
			rec("GHSA-3", "", "Packagist", "a/b", below("ECOSYSTEM", "1.0")), // a branch: nobody can tell
		}, "GHSA-1 symfony/http-kernel v4.4.0-RC1 -> 4.4", []string{"pkg:composer/a/b@dev-main"}},
		"NuGet": {[]string{"app/App.deps.json", `{"libraries":{"App/1.0.0":{"type":"project"},"newtonsoft.json/12.0.3":{"type":"package"},"X/1.0.0.1":{"type":"package"}}}`}, []string{
			rec("GHSA-1", "", "NuGet", "Newtonsoft.Json", below("ECOSYSTEM", "13.0.1")), rec("GHSA-2", "", "NuGet", "Newtonsoft.Json", below("ECOSYSTEM", "12.0.3")),
			rec("GHSA-3", "", "NuGet", "X", below("ECOSYSTEM", "1.0.0")), rec("GHSA-4", "", "NuGet", "App", below("ECOSYSTEM", "9.0.0")),
		}, "GHSA-1 Newtonsoft.Json 12.0.3 -> 13.0.1", nil},
		"Ubuntu": {slices.Concat(release("ubuntu", "22.04"), []string{"var/lib/dpkg/status", "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl\nVersion: 3.0.2-0ubuntu1.9\n\n"}), []string{
			rec("USN-1", "", "Ubuntu:22.04:LTS", "openssl", below("ECOSYSTEM", "3.0.2-0ubuntu1.10")), rec("USN-2", "", "Ubuntu:20.04:LTS", "openssl", below("ECOSYSTEM", "9")),
		}, "USN-1 openssl 3.0.2-0ubuntu1.9 -> 3.0.2-0ubuntu1.10", nil},
		"distroless": {slices.Concat(release("debian", "12"), []string{"var/lib/dpkg/status.d/libssl3", "Package: libssl3\nArchitecture: amd64\nSource: openssl\nVersion: 3.0.11-1~deb12u2\n"}), []string{
			rec("DSA-1", "", "Debian:12", "openssl", below("ECOSYSTEM", "3.0.13-1~deb12u1")), rec("DSA-2", "", "Debian:11", "openssl", below("ECOSYSTEM", "9")),
		}, "DSA-1 openssl 3.0.11-1~deb12u2 -> 3.0.13-1~deb12u1", nil},
		"Alpine": {slices.Concat(release("alpine", "3.20.3"), []string{"lib/apk/db/installed", "C:Q1x=\nP:libcrypto3\nV:3.3.1-r9\nA:x86_64\no:openssl\n\n"}), []string{
			rec("ALPINE-1", "", "Alpine:v3.20", "openssl", below("ECOSYSTEM", "3.3.1-r10")), rec("ALPINE-2", "", "Alpine:v3.19", "openssl", below("ECOSYSTEM", "9-r0")),
		}, "ALPINE-1 openssl 3.3.1-r9 -> 3.3.1-r10", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inv := inventory(t, tt.files...)
			found, gaps, err := finding.Match(t.Context(), imported(t, tt.feed...), inv, now)
			if err != nil {
				t.Fatal(err)
			}
			if got := brief(found); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			var got []string
			for _, g := range gaps {
				if !strings.HasPrefix(g.Reason, "no advisories for PyPI") {
					got = append(got, g.Component)
				}
			}
			if diff := cmp.Diff(tt.gaps, got); diff != "" {
				t.Errorf("gaps %v: %s", gaps, diff)
			}
		})
	}
}
