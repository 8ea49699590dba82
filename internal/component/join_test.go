// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/image"
)

func TestFinalView(t *testing.T) {
	old, patched := [2]string{"openssl", "3.0.9-1"}, [2]string{"openssl", "3.0.22-1"}
	other := [2]string{"zlib1g", "1.2"}
	tests := map[string]struct {
		layers [][]file
		want   []string
	}{
		"a package belongs to the layer since which it is there": {
			[][]file{{release(), status(old)}, {status(old, other)}, {status(other, patched)}},
			[]string{"openssl 3.0.22-1@2", "zlib1g 1.2@1"},
		},
		"gone and back again counts from the return": {
			[][]file{{release(), status(old, other)}, {status(other)}, {status(old, other)}},
			[]string{"openssl 3.0.9-1@2", "zlib1g 1.2@0"},
		},
		"an older version in an upper layer is what is there": {
			[][]file{{release(), status(patched)}, {status(old)}}, []string{"openssl 3.0.9-1@1"},
		},
		"a package twice in one database counts once": {
			[][]file{{release(), status(old, old)}}, []string{"openssl 3.0.9-1@0"},
		},
		"with two versions it counts twice: neither hides the other": {
			[][]file{{release(), status(old, patched)}}, []string{"openssl 3.0.22-1@0", "openssl 3.0.9-1@0"},
		},
		"a whiteout removes the database of lower layers": {
			[][]file{{release(), status(old)}, {{name: "var/lib/dpkg/.wh.status"}}}, []string{},
		},
		"a whiteout of a folder above does, too": {
			[][]file{{release(), status(old)}, {{name: "var/.wh.lib"}}}, []string{},
		},
		"so does an opaque folder": {
			[][]file{{release(), status(old)}, {{name: "var/lib/.wh..wh..opq"}}}, []string{},
		},
		"and a file in place of a folder": {
			[][]file{{release(), status(old)}, {{name: "var/lib", text: "x"}}}, []string{},
		},
		"a whiteout does nothing to its own layer": {
			[][]file{{release(), {name: "var/lib/dpkg/.wh.status"}, status(old)}}, []string{"openssl 3.0.9-1@0"},
		},
		"odd whiteouts do nothing": {
			[][]file{{release(), status(old)}, {{name: ".wh..."}, {name: "etc/.wh.."}, {name: "var/lib/dpkg/.wh."}, {name: ".wh.var/x"}}},
			[]string{"openssl 3.0.9-1@0"},
		},
		"the last of two entries wins": {
			[][]file{{release(), status(old), status(patched)}}, []string{"openssl 3.0.22-1@0"},
		},
		"paths go through links of the layer": {
			[][]file{{release(), {name: "data/"}, {name: "var", link: "/data"}, {name: "var/lib/dpkg/status.d/a", text: "Package: a\nVersion: 1\nArchitecture: all\n"}}},
			[]string{},
		},
		"distroless": {
			[][]file{{release(), {name: "var/lib/dpkg/status.d/a", text: "Package: a\nVersion: 1\nArchitecture: all\n"}}}, []string{"a 1@0"},
		},
		"not installed": {
			[][]file{{release(), {name: "var/lib/dpkg/status", text: "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\n"}}}, []string{},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var layers []image.Layer
			for _, files := range tt.layers {
				layers = append(layers, layerOf(t, files...))
			}
			if diff := cmp.Diff(tt.want, names(inventoryOf(t, layers...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOwnersAndEcosystems(t *testing.T) {
	meta := "Metadata-Version: 2.1\nName: Requests\nVersion: 2.28.1\n"
	owned := "usr/lib/python3/dist-packages/requests-2.28.1.egg-info/PKG-INFO"
	inv := inventoryOf(t, layerOf(t,
		file{name: "usr/lib/os-release", text: debian12}, file{name: "etc/os-release", link: "../usr/lib/os-release"},
		file{name: "var/lib/dpkg/status", text: "Package: python3-requests\nStatus: install ok installed\nSource: requests (2.28)\nMaintainer: T <t@lists.debian.org>\n" +
			"Architecture: all\nVersion: 1:2.28.1+dfsg-1\n\nPackage: other\nStatus: install ok installed\nMaintainer: V <v@vendor.test>\nArchitecture: all\nVersion: 1\n\n"},
		file{name: "var/lib/dpkg/info/python3-requests.list", text: "/.\n/usr\n/" + owned + "\n"},
		file{name: "var/lib/dpkg/info/other:amd64.list", text: "/opt/other/x.dist-info/METADATA\n"},
		file{name: owned, text: meta},
		file{name: "opt/venv/requests-2.28.1.dist-info/METADATA", text: meta},
		file{name: "opt/other/x.dist-info/METADATA", text: meta},
		file{name: "srv/node_modules/@scope/pkg/package.json", text: `{"name":"@scope/pkg","version":"1.0.0+b"}`},
	))
	type row struct{ PURL, Ecosystem, Path, Owner, Source, SourceVersion string }
	var got []row
	for _, c := range inv.Components {
		got = append(got, row{c.PURL, c.Ecosystem, c.Path, c.Owner, c.Source, c.SourceVersion})
	}
	want := []row{
		{"pkg:deb/debian/other@1?arch=all&distro=debian-12", "Debian:12", "var/lib/dpkg/status", "", "other", "1"},
		{"pkg:deb/debian/python3-requests@1:2.28.1%2Bdfsg-1?arch=all&distro=debian-12", "Debian:12", "var/lib/dpkg/status", "", "requests", "2.28"},
		{"pkg:pypi/requests@2.28.1", "PyPI", "opt/other/x.dist-info/METADATA", "", "", ""}, // a vendor's package: Debian says nothing about it
		{"pkg:pypi/requests@2.28.1", "PyPI", "opt/venv/requests-2.28.1.dist-info/METADATA", "", "", ""},
		{"pkg:pypi/requests@2.28.1", "PyPI", owned, "python3-requests", "", ""},
		{"pkg:npm/%40scope/pkg@1.0.0%2Bb", "npm", "srv/node_modules/@scope/pkg/package.json", "", "", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(inv.Problems) > 0 || inv.OS.Name != "Debian GNU/Linux 12" {
		t.Errorf("problems %v, OS %v", inv.Problems, inv.OS)
	}
}

func TestDistributions(t *testing.T) {
	for text, want := range map[string]string{
		debian12:                                                                "Debian:12",
		"ID=ubuntu\nVERSION_ID=\"22.04\"\n":                                     "Ubuntu:22.04",
		"ID=alpine\nVERSION_ID=3.20.3\n":                                        "Alpine:v3.20",
		"ID=alpine\nVERSION_ID=3.22_alpha\n":                                    "",
		"ID=wolfi\nVERSION_ID=20230201\n":                                       "Wolfi",
		"ID=\"rocky\"\nVERSION_ID=\"9.4\"\n":                                    "Rocky Linux:9",
		"ID=photon\nVERSION_ID=5.0\n":                                           "Photon OS:5.0",
		"ID=\"almalinux\"\nVERSION_ID=9.4\n":                                    "AlmaLinux:9",
		"ID=\"rhel\"\nVERSION_ID=\"8.10\"\n":                                    "Red Hat:8",
		"ID=\"sles\"\nVERSION_ID=\"15.5\"\n":                                    "SUSE:15 SP5",
		"ID=\"sles\"\nVERSION_ID=\"15\"\n":                                      "SUSE:15",
		"ID=\"sles\"\nVERSION_ID=\"16.0\"\n":                                    "SUSE:16.0",
		"ID=sle-micro\nVERSION_ID=\"5.5\"\n":                                    "SUSE:Linux Enterprise Micro 5.5",
		"ID=opensuse-leap\nVERSION_ID=15.6\n":                                   "openSUSE:Leap 15.6",
		"ID=opensuse-tumbleweed\nVERSION_ID=20261101\n":                         "openSUSE:Tumbleweed",
		"ID=sl-micro\nVERSION_ID=\"6.0\"\n":                                     "SUSE:Linux Micro 6.0",
		"ID=azurelinux\nVERSION_ID=\"3.0\"\n":                                   "Azure Linux:3",
		"ID=mariner\nVERSION_ID=\"2.0\"\n":                                      "Azure Linux:2",
		"ID=mageia\nVERSION_ID=9\n":                                             "Mageia:9",
		"ID=\"openEuler\"\nVERSION_ID=\"22.03\"\nVERSION=\"22.03 (LTS-SP3)\"\n": "openEuler:22.03-LTS-SP3",
		"ID=amzn\nVERSION_ID=2023\n":                                            "",
		"ID=fedora\nVERSION_ID=41\n":                                            "",
		"ID=ol\nVERSION_ID=9.4\n":                                               "",
		"ID=centos\nVERSION_ID=7\n":                                             "",
		"ID=arch\n":                                                             "",
		"garbage":                                                               "",
	} {
		inv := inventoryOf(t, layerOf(t, file{name: "etc/os-release", text: text}))
		if inv.OS.Ecosystem != want {
			t.Errorf("%q: got %q; want %q", text, inv.OS.Ecosystem, want)
		}
	}
}

func TestAlpine(t *testing.T) {
	inv := inventoryOf(t, layerOf(t,
		file{name: "etc/os-release", text: "ID=alpine\nVERSION_ID=3.20.3\n"},
		file{name: "lib/apk/db/installed", text: "C:Q1x\nP:py3-six\nV:1.16.0-r9\nA:x86_64\no:py3-six\nL:MIT\nF:usr/lib/python3.12/site-packages/six-1.16.0.dist-info\nR:METADATA\n\n"},
		file{name: "usr/lib/python3.12/site-packages/six-1.16.0.dist-info/METADATA", text: "Name: six\nVersion: 1.16.0\n"},
	))
	if len(inv.Components) != 2 || inv.Components[0].Ecosystem != "Alpine:v3.20" || inv.Components[1].Owner != "py3-six" {
		t.Errorf("got %+v", inv.Components)
	}
	if want := "pkg:apk/alpine/py3-six@1.16.0-r9?arch=x86_64&distro=alpine-3.20.3"; inv.Components[0].PURL != want {
		t.Errorf("got %s; want %s", inv.Components[0].PURL, want)
	}
}

// TestNothingIsSilentlyClean lists what must make a verdict unknown.
func TestNothingIsSilentlyClean(t *testing.T) {
	garbled := file{name: "var/lib/dpkg/status", text: "Package: a\nStatus: broken\nVersion: 1\n\n"}
	tests := map[string]struct {
		files []file
		want  []string
	}{
		"garbled database":               {[]file{release(), garbled}, []string{"etc/os-release", "var/lib/dpkg/status"}},
		"a distribution without one":     {[]file{release()}, []string{"etc/os-release"}},
		"packages of no known system":    {[]file{status([2]string{"a", "1"})}, []string{"etc/os-release"}},
		"a database behind a link":       {[]file{release(), {name: "opt/s", text: "Package: a\n"}, {name: "var/lib/dpkg/status", link: "/opt/s"}}, []string{"etc/os-release", "var/lib/dpkg/status"}},
		"a folder of it behind a link":   {[]file{release(), {name: "opt/status", text: "x"}, {name: "var/lib/dpkg", link: "../../opt"}}, []string{"etc/os-release", "var/lib/dpkg/status"}},
		"a database behind a hard link":  {[]file{release(), {name: "opt/s", text: "x"}, {name: "var/lib/dpkg/status", hard: "opt/s"}}, []string{"etc/os-release", "var/lib/dpkg/status"}},
		"an RPM database":                {[]file{{name: "var/lib/rpm/rpmdb.sqlite", text: "x"}}, []string{"var/lib/rpm/rpmdb.sqlite"}},
		"nothing but an unknown program": {[]file{{name: "app", text: "\x7fELFxx"}}, []string{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, fatal(inventoryOf(t, layerOf(t, tt.files...)))); diff != "" {
				t.Error(diff)
			}
		})
	}
	img := &image.Image{Layers: []image.Layer{layerOf(t, release())}}
	if got := fatal(component.Join(img, nil)); len(got) == 0 {
		t.Error("a layer nobody read is a fatal problem")
	}
}

// TestUnknownJavaArchives are gaps, but for those a distribution package owns.
func TestUnknownJavaArchives(t *testing.T) {
	inv := inventoryOf(t, layerOf(t,
		release(), status([2]string{"libx-java", "1"}),
		file{name: "var/lib/dpkg/info/libx-java.list", text: "/usr/share/java/x.jar\n"},
		file{name: "usr/share/java/x.jar", text: "PK"},
		file{name: "app/a.jar", text: "PK"},
	))
	if len(inv.Problems) != 1 || !inv.Problems[0].Uncovered || inv.Problems[0].Fatal || inv.Problems[0].Path != "app/a.jar" {
		t.Errorf("got %+v", inv.Problems)
	}
}

func TestReportSurvivesJSON(t *testing.T) {
	layers := []image.Layer{
		layerOf(t, release(), status([2]string{"a", "1"}), file{name: "bad\xffname", text: "x"}, file{name: "usr/bin/sh", link: "dash"}),
		layerOf(t, file{name: ".wh.bad\xffname"}, file{name: "etc/.wh..wh..opq"}),
	}
	img := &image.Image{Layers: layers}
	reports, err := component.ReadLayers(t.Context(), img, image.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(reports)
	if err != nil {
		t.Fatal(err)
	}
	var again []*component.LayerReport
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(reports, again); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(component.Join(img, reports), component.Join(img, again)); diff != "" {
		t.Error(diff)
	}
}

// TestPackagesOf: files that run lead to the packages that brought them, also over
// a merged /usr and over several layers.
func TestPackagesOf(t *testing.T) {
	reports := []*component.LayerReport{
		{Owned: []component.OwnedFiles{{Files: map[string][]string{
			"libssl3": {"usr/lib/x86_64-linux-gnu/libssl.so.3"}, "dash": {"bin/dash"},
		}}}},
		nil,
		{Owned: []component.OwnedFiles{{Files: map[string][]string{"curl": {"usr/bin/curl"}}}}},
	}
	got := component.PackagesOf(reports, []string{"/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/bin/dash", "/usr/bin/curl", "/app/own"})
	if want := []string{"curl", "dash", "libssl3"}; !slices.Equal(got, want) {
		t.Errorf("packages %v, want %v", got, want)
	}
}
