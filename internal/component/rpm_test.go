// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component_test

import (
	"compress/gzip"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/component"
)

const rocky9 = "ID=\"rocky\"\nVERSION_ID=\"9.4\"\nPRETTY_NAME=\"Rocky Linux 9.4\"\n"

// rpmDatabase is one of the databases of package extract, see its testdata.
func rpmDatabase(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open("../extract/testdata/rpm/" + name + ".gz")
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

const idna = "usr/lib/python3.9/site-packages/idna-2.10.dist-info/METADATA"

// TestRPM: epochs of source packages, modules, owners, and a package that is not
// the distribution's own.
func TestRPM(t *testing.T) {
	inv := inventoryOf(t,
		layerOf(t,
			file{name: "etc/os-release", text: rocky9},
			file{name: "usr/lib/sysimage/rpm/rpmdb.sqlite", text: rpmDatabase(t, "rpmdb.sqlite")},
			file{name: idna, text: "Name: idna\nVersion: 2.10\n"},
		),
		layerOf(t, file{name: "app/x", text: "x"}),
	)
	type row struct{ PURL, Ecosystem, Source, SourceVersion, Owner string }
	var got []row
	for _, c := range inv.Components {
		got = append(got, row{c.PURL, c.Ecosystem, c.Source, c.SourceVersion, c.Owner})
	}
	const suffix = "&distro=rocky-9.4"
	want := []row{
		{"pkg:rpm/fedora-project/htop@3.3.0-1.el9?arch=noarch" + suffix, "", "htop", "3.3.0-1.el9", ""},
		{"pkg:pypi/idna@2.10", "PyPI", "", "", "python3-idna"},
		{"pkg:rpm/rocky/nodejs@18.20.2-1.module%2Bel9.4.0%2B2222%2Bab34?arch=noarch" + suffix + "&epoch=1&rpmmod=nodejs:18", "Rocky Linux:9", "nodejs", "1:18.20.2-1.module+el9.4.0+2222+ab34", ""},
		{"pkg:rpm/rocky/openssl@3.0.7-27.el9?arch=x86_64" + suffix + "&epoch=1", "Rocky Linux:9", "openssl", "1:3.0.7-27.el9", ""},
		{"pkg:rpm/rocky/openssl-libs@3.0.7-27.el9?arch=x86_64" + suffix + "&epoch=1", "Rocky Linux:9", "openssl", "1:3.0.7-27.el9", ""},
		{"pkg:rpm/rocky/perl-Carp@1.50-460.el9?arch=noarch" + suffix, "Rocky Linux:9", "perl", "4:5.32.1-481.el9", ""},
		{"pkg:rpm/rocky/perl-libs@5.32.1-481.el9?arch=noarch" + suffix + "&epoch=4", "Rocky Linux:9", "perl", "4:5.32.1-481.el9", ""},
		{"pkg:rpm/rocky/python3-idna@2.10-7.el9?arch=noarch" + suffix, "Rocky Linux:9", "python-idna", "2.10-7.el9", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(inv.Problems) > 0 {
		t.Error(inv.Problems)
	}
}

// TestRPMByOtherPaths: Fedora has a link where older tools look, and SUSE uses ndb.
func TestRPMByOtherPaths(t *testing.T) {
	for name, files := range map[string][]file{
		"a link to the folder": {{name: "usr/lib/sysimage/rpm/rpmdb.sqlite", text: rpmDatabase(t, "rpmdb.sqlite")}, {name: "var/lib/rpm", link: "../../usr/lib/sysimage/rpm"}},
		"ndb":                  {{name: "usr/lib/sysimage/rpm/Packages.db", text: rpmDatabase(t, "Packages.db")}},
		"Berkeley DB":          {{name: "var/lib/rpm/Packages", text: rpmDatabase(t, "Packages")}},
	} {
		inv := inventoryOf(t, layerOf(t, append(files, file{name: "etc/os-release", text: rocky9})...))
		if len(inv.Components) != 7 || len(inv.Problems) > 0 {
			t.Errorf("%s: %d components, %v", name, len(inv.Components), inv.Problems)
		}
	}
}

// TestRPMUpgradeInUpperLayer: what the base brought stays the base's.
func TestRPMUpgradeInUpperLayer(t *testing.T) {
	manifest := func(version string) file {
		line := func(name, version string) string {
			return name + "\t" + version + "\t1\t1\tMicrosoft Corporation\t(none)\t0\tx86_64\t0\t" + name + "-" + version + ".src.rpm\n"
		}
		return file{name: "var/lib/rpmmanifest/container-manifest-2", text: line("glibc", "2.38-1.azl3") + line("openssl", version)}
	}
	inv := inventoryOf(t,
		layerOf(t, file{name: "etc/os-release", text: "ID=azurelinux\nVERSION_ID=\"3.0\"\n"}, manifest("3.3.0-1.azl3")),
		layerOf(t, manifest("3.3.2-1.azl3")),
	)
	if diff := cmp.Diff([]string{"glibc 2.38-1.azl3@0", "openssl 3.3.2-1.azl3@1"}, names(inv)); diff != "" {
		t.Error(diff)
	}
	for _, c := range inv.Components {
		if c.Ecosystem != "Azure Linux:3" {
			t.Errorf("got %+v", c)
		}
	}
}

// TestDistributionsWithoutAdvisories are no problem of the image: package finding
// makes them gaps.
func TestDistributionsWithoutAdvisories(t *testing.T) {
	inv := inventoryOf(t, layerOf(t,
		file{name: "etc/os-release", text: "ID=arch\nPRETTY_NAME=\"Arch Linux\"\n"},
		file{name: "var/lib/pacman/local/zlib-1.3-2/desc", text: "%NAME%\nzlib\n\n%VERSION%\n1:1.3-2\n"},
	))
	if len(inv.Components) != 1 || inv.Components[0].Ecosystem != "" || inv.Components[0].PURL != "pkg:alpm/arch/zlib@1:1.3-2" || len(inv.Problems) > 0 {
		t.Errorf("got %+v, %v", inv.Components, inv.Problems)
	}
	inv = inventoryOf(t, layerOf(t,
		file{name: "etc/os-release", text: "ID=amzn\nVERSION_ID=2023\n"},
		file{name: "var/lib/rpm/rpmdb.sqlite", text: rpmDatabase(t, "rpmdb.sqlite")},
	))
	if slices.ContainsFunc(inv.Components, func(c component.Component) bool { return c.Ecosystem != "" || !strings.HasPrefix(c.PURL, "pkg:rpm/") }) || len(inv.Problems) > 0 {
		t.Errorf("got %+v, %v", inv.Components, inv.Problems)
	}
}

// TestPackagesOfAnotherKind: somebody says it is what it is not.
func TestPackagesOfAnotherKind(t *testing.T) {
	inv := inventoryOf(t, layerOf(t, file{name: "etc/os-release", text: rocky9}, status([2]string{"a", "1"})))
	if got := fatal(inv); len(got) != 1 || inv.Components[0].Ecosystem != "" {
		t.Errorf("got %v, %+v", got, inv.Components)
	}
}
