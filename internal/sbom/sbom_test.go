// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sbom_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/osv-scalibr/converter"
	"github.com/google/osv-scalibr/extractor"
	dpkg "github.com/google/osv-scalibr/extractor/filesystem/os/dpkg/metadata"
	"github.com/google/osv-scalibr/inventory"
	"github.com/google/osv-scalibr/purl"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/report"
	"github.com/goldkeep/goldkeep/internal/sbom"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

func read(t testing.TB, text string) *sbom.Bill {
	t.Helper()
	b, err := sbom.Read(strings.NewReader(text), sbom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lines writes components as "ecosystem name version source=sourceVersion path owner purl".
func lines(b *sbom.Bill) []string {
	out := []string{}
	for _, c := range b.Inventory.Components {
		line := c.Ecosystem + " " + c.Name + " " + c.Version
		if c.Source != "" {
			line += " " + c.Source + "=" + c.SourceVersion
		}
		for _, more := range []string{c.Path, c.Owner, c.PURL} {
			if more != "" {
				line += " " + more
			}
		}
		out = append(out, line)
	}
	return out
}

func TestOtherTools(t *testing.T) {
	for file, want := range map[string]struct {
		origin, name, os string
		components       []string
		problems         int
	}{
		"syft.cdx.json": {"CycloneDX 1.6 by syft 1.57.0", "registry.internal/shop", "Debian:12", []string{
			"npm @babel/core 7.1.0 pkg:npm/%40babel/core@7.1.0",
			"Go github.com/BurntSushi/toml v1.2.0 pkg:golang/github.com/burntsushi/toml@v1.2.0",
			"Debian:12 libssl3 3.0.15-1 openssl=3.0.15-1 pkg:deb/debian/libssl3@3.0.15-1?arch=amd64&distro=debian-12",
			"Maven org.apache.logging.log4j:log4j-core 2.14.1 pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1",
			"Go stdlib 1.22.1 pkg:golang/stdlib@1.22.1",
			"PyPI Jinja2 2.11.2 usr/lib/python3/dist-packages/Jinja2-2.11.2.dist-info/METADATA pkg:pypi/jinja2@2.11.2",
			"Debian:12 bsdutils 1:2.38.1-5+deb12u3 util-linux=2.38.1-5+deb12u3 var/lib/dpkg/status pkg:deb/debian/bsdutils@1:2.38.1-5%2Bdeb12u3?arch=amd64&distro=debian-12",
		}, 2},
		"syft.spdx.json": {"SPDX 2.3 by syft 1.57.0", "registry.internal/shop", "Debian:12", []string{
			"Debian:12 python3-idna 3.3-1 python-idna=3.3-1 pkg:deb/debian/python3-idna@3.3-1?arch=all&distro=debian-12",
			"PyPI idna 3.3 usr/lib/python3/dist-packages/idna-3.3.egg-info/PKG-INFO python3-idna pkg:pypi/idna@3.3",
			"Debian:12 bsdutils 1:2.38.1-5+deb12u3 util-linux=2.38.1-5+deb12u3 var/lib/dpkg/status pkg:deb/debian/bsdutils@1:2.38.1-5%2Bdeb12u3?arch=amd64&distro=debian-12",
		}, 1},
		"trivy.cdx.json": {"CycloneDX 1.5 by trivy 0.70.0", "shop:1.2", "Debian:12", []string{
			"Debian:12 bsdutils 1:2.38.1-5+deb12u3 util-linux=2.38.1-5+deb12u3 pkg:deb/debian/bsdutils@1:2.38.1-5%2Bdeb12u3?arch=amd64&distro=debian-12.5",
			"Go github.com/BurntSushi/toml v1.2.0 pkg:golang/github.com/burntsushi/toml@v1.2.0",
			"npm @babel/core 7.1.0 app/node_modules/@babel/core/package.json pkg:npm/%40babel/core@7.1.0",
		}, 1},
		"trivy.spdx.json": {"SPDX 2.3 by trivy 0.70.0", "shop:1.2", "Alpine:v3.20", []string{
			"Alpine:v3.20 libcrypto3 3.3.2-r0 openssl=3.3.2-r0 pkg:apk/alpine/libcrypto3@3.3.2-r0?arch=x86_64&distro=alpine-3.20.3",
			"Maven com.google.guava:guava 31.0 app/app.jar pkg:maven/com.google.guava/guava@31.0",
		}, 1},
		"scalibr.cdx.json": {"CycloneDX 1.6 by SCALIBR", "shop", "Debian:12", []string{
			"PyPI Jinja2 2.11.2 pkg:pypi/jinja2@2.11.2",
			"Go github.com/BurntSushi/toml v1.2.0 app/server pkg:golang/github.com/burntsushi/toml@v1.2.0",
			"Debian:12 libssl3 3.0.15-1 openssl=3.0.15-1 var/lib/dpkg/status pkg:deb/debian/libssl3@3.0.15-1?arch=amd64&distro=debian-12",
		}, 2},
		"docker.cdx.json": {"CycloneDX 1.4 by syft v0.43.0", "rhel9:latest", "Red Hat:9", []string{
			"Red Hat:9 openssl-libs 1:3.0.7-27.el9 openssl-3.0.7-27.el9.src.rpm=1:3.0.7-27.el9 pkg:rpm/rhel/openssl-libs@3.0.7-27.el9?arch=x86_64&distro=rhel-9.4&epoch=1",
		}, 1},
	} {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			if !sbom.Detect(text[:min(len(text), 512)]) {
				t.Error("not known by its beginning")
			}
			b := read(t, string(text))
			if b.Origin() != want.origin || b.Name != want.name || b.Inventory.OS.Ecosystem != want.os || b.Created.IsZero() || !strings.HasPrefix(b.ID, "sha256:") {
				t.Errorf("got %s %s %+v %s", b.Origin(), b.Name, b.Inventory.OS, b.Created)
			}
			if diff := cmp.Diff(want.components, lines(b)); diff != "" {
				t.Error(diff)
			}
			if len(b.Inventory.Problems) != want.problems {
				t.Errorf("problems: %+v", b.Inventory.Problems)
			}
		})
	}
}

// TestScalibr reads what OSV-Scalibr's own converters write.
func TestScalibr(t *testing.T) {
	found := inventory.Inventory{Packages: []*extractor.Package{
		{Name: "bsdutils", Version: "1:2.38.1-5", PURLType: purl.TypeDebian, Metadata: &dpkg.Metadata{PackageName: "bsdutils", SourceName: "util-linux", SourceVersion: "2.38.1-5", OSID: "debian", OSVersionID: "12", OSVersionCodename: "bookworm", Architecture: "amd64"}},
		{Name: "Jinja2", Version: "2.11.2", PURLType: purl.TypePyPi},
	}}
	cdx, err := json.Marshal(converter.ToCDX(found, converter.CDXConfig{ComponentName: "shop"}))
	if err != nil {
		t.Fatal(err)
	}
	b := read(t, string(cdx))
	want := []string{
		"PyPI Jinja2 2.11.2 pkg:pypi/jinja2@2.11.2",
		"Debian:12 bsdutils 1:2.38.1-5 util-linux=1:2.38.1-5 pkg:deb/debian/bsdutils@1:2.38.1-5?arch=amd64&distro=debian-12",
	}
	if diff := cmp.Diff(want, lines(b)); diff != "" {
		t.Errorf("%s\n%s", diff, cdx)
	}
	unsourced := false // it leaves the version of the source out: that must be said
	for _, p := range b.Inventory.Problems {
		unsourced = unsourced || p.Uncovered && strings.Contains(p.Reason, "source package has no version")
	}
	if !unsourced {
		t.Errorf("problems: %+v", b.Inventory.Problems)
	}
}

// own is evidence with all there is to say of a component.
func own() verdict.Evidence {
	return verdict.Evidence{
		Image: verdict.Image{Name: "shop", ID: "sha256:" + strings.Repeat("ab", 32), Platform: "linux/amd64", Ports: []string{"8080/tcp", "22/tcp"}},
		OS:    component.OS{ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12 (bookworm)", Ecosystem: "Debian:12"},
		Components: []component.Component{
			{PURL: "pkg:golang/example.com/shop", Ecosystem: "Go", Name: "example.com/shop", Version: "(devel)", Path: "app/shop", Layer: layer, LayerIndex: 2, Main: true},
			{PURL: "pkg:golang/golang.org/x/net@v0.20.0", Ecosystem: "Go", Name: "golang.org/x/net", Version: "v0.20.0", Path: "app/shop", Layer: layer, LayerIndex: 2, Packages: []string{"golang.org/x/net/html", "golang.org/x/net/http2"}},
			{PURL: "pkg:pypi/idna@3.3", Ecosystem: "PyPI", Name: "idna", Version: "3.3", Path: "usr/lib/python3/idna", Layer: layer, LayerIndex: 1, Owner: "python3-idna", Licenses: []string{"BSD"}},
			{PURL: "pkg:deb/debian/bsdutils@1:2.38?arch=amd64&distro=debian-12", Ecosystem: "Debian:12", Name: "bsdutils", Version: "1:2.38", Source: "util-linux", SourceVersion: "2.38", Arch: "amd64", Path: "var/lib/dpkg/status", Layer: layer, Maintainer: "T <t@debian.org>"},
			{PURL: "pkg:rpm/acme/tool@1", Name: "tool", Version: "1", Source: "tool", SourceVersion: "1", Module: "x:1", Path: "var/lib/rpm/rpmdb.sqlite", Layer: layer},
		},
		Problems: []component.Problem{{Path: "opt/a.jar", Reason: "not read", Fatal: true}},
	}
}

var layer = image.Digest("sha256:" + strings.Repeat("01", 32))

func TestOwnBillsComeBackWhole(t *testing.T) {
	for _, format := range []string{"cyclonedx", "spdx"} {
		var out bytes.Buffer
		ev := own()
		if err := report.Write(&out, format, report.Result{Evidence: ev, Time: time.Unix(0, 0), Version: "1"}, report.Options{}); err != nil {
			t.Fatal(err)
		}
		b := read(t, out.String())
		want := ev.Components
		for i := range want {
			if format == "spdx" {
				want[i].Licenses = nil
			}
		}
		if diff := cmp.Diff(want, b.Inventory.Components); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
		if diff := cmp.Diff(ev.OS, b.Inventory.OS); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
		if diff := cmp.Diff(ev.Image.Ports, b.Ports); diff != "" || b.Platform != ev.Image.Platform || b.Tool != "goldkeep 1" {
			t.Errorf("%s: %s %s %s", format, diff, b.Platform, b.Tool)
		}
		if p := b.Inventory.Problems; len(p) != 2 || p[1] != ev.Problems[0] {
			t.Errorf("%s: what was not read is forgotten: %+v", format, p)
		}
	}
}

func TestNeverSilentlyClean(t *testing.T) {
	head := `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[`
	for name, tt := range map[string]struct{ text, reason string }{
		"empty":      {head + `]}`, "only a bill"},
		"no purl":    {head + `{"type":"library","name":"x","version":"1"}]}`, "without a package URL"},
		"bad purl":   {head + `{"type":"library","name":"x","version":"1","purl":"nonsense"}]}`, "without a package URL"},
		"no version": {head + `{"type":"library","name":"x","purl":"pkg:npm/x"}]}`, "without a version"},
		"incomplete": {head + `],"compositions":[{"aggregate":"incomplete"}]}`, "not whole"},
		"too deep":   {head + strings.Repeat(`{"type":"library","name":"x","purl":"pkg:npm/x@1","components":[`, 20) + strings.Repeat(`]}`, 20) + `]}`, "not whole"},
	} {
		found := false
		for _, p := range read(t, tt.text).Inventory.Problems {
			found = found || strings.Contains(p.Reason, tt.reason)
		}
		if !found {
			t.Errorf("%s: %+v", name, read(t, tt.text).Inventory.Problems)
		}
	}
	// A foreign package among those of a distribution is not judged by its advisories.
	b := read(t, head+`{"type":"operating-system","name":"debian","version":"12"},{"type":"library","name":"x","purl":"pkg:deb/acme/x@1?arch=amd64"}]}`)
	if got := lines(b); len(got) != 1 || strings.HasPrefix(got[0], "Debian") {
		t.Errorf("got %v", got)
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		kind fault.Kind
	}{
		"no JSON":           {"<bom/>", fault.Invalid},
		"empty":             {"", fault.Invalid},
		"neither":           {`{"components":[]}`, fault.Invalid},
		"cut":               {`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{`, fault.Invalid},
		"an array":          {`[]`, fault.Invalid},
		"old CycloneDX":     {`{"bomFormat":"CycloneDX","specVersion":"1.2"}`, fault.Unsupported},
		"SPDX 3":            {`{"spdxVersion":"SPDX-3.0"}`, fault.Unsupported},
		"deep":              {`{"x":` + strings.Repeat("[", 1_000_000), fault.Invalid},
		"deep in component": {`{"bomFormat":"CycloneDX","components":[{"x":` + strings.Repeat(`{"a":`, 1000), fault.Invalid},
	} {
		if _, err := sbom.Read(strings.NewReader(tt.text), sbom.Limits{}); !fault.Is(err, tt.kind) || len(err.Error()) > 300 {
			t.Errorf("%s: %v", name, err)
		}
	}
	small := sbom.Limits{Bytes: 100, Components: 3}
	for name, text := range map[string]string{
		"bytes":      `{"bomFormat":"CycloneDX","specVersion":"1.6","x":"` + strings.Repeat("x", 200) + `"}`,
		"components": `{"bomFormat":"CycloneDX","components":[{},{},{},{}]}`,
	} {
		if _, err := sbom.Read(strings.NewReader(text), small); !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// endless is a bill with a number of components that no memory holds.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	text := `{"type":"library","name":"x","version":"1","purl":"pkg:npm/x@1"},`
	if e.n == 0 {
		text = `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[`
	}
	if e.n++; e.n > 10_000_000 {
		return 0, io.EOF
	}
	return copy(p, text), nil
}

func TestTenMillionComponents(t *testing.T) {
	if _, err := sbom.Read(&endless{}, sbom.Limits{}); !fault.Is(err, fault.TooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestNothingHostileIsShown(t *testing.T) {
	token := "gh" + "p_" + "q7Rk2ZbV9xTn4LmW8sHd1JcYf6GpA3uE0oKi"
	text := fmt.Sprintf(`{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"name":"\u001b[2J %s"}},"components":[{"type":"library","name":"\u001b[2J\n%s","version":"\u0000","purl":"pkg:npm/x@1","properties":[{"name":"goldkeep:path","value":"%s"}]}]}`, token, token, token)
	kept, err := json.Marshal(read(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(kept, []byte(token)) || bytes.Contains(kept, []byte(`\u001b`)) {
		t.Errorf("got %s", kept)
	}
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 5 {
		f.Fatal(err, files)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"spdxVersion":"SPDX-2.3","packages":{"a":1},"comment":"goldkeep: {}","relationships":[1,[],{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := sbom.Read(bytes.NewReader(data), sbom.Limits{Bytes: 1 << 20, Components: 1000})
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Errorf("an error without a kind: %v", err)
			}
			return
		}
		if len(b.Inventory.Problems) == 0 {
			t.Error("a bill that says it is all there is")
		}
	})
}
