// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract_test

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/extract"
)

// The texts below are written as each tool writes them, shortened.

const dpkgStatus = `Package: libssl3
Status: install ok installed
Maintainer: Debian OpenSSL Team <pkg-openssl-devel@alioth-lists.debian.net>
Architecture: amd64
Source: openssl (3.0.11-1~deb12u2)
Version: 3.0.11-1~deb12u2+b1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

`

const gemspec = `# -*- encoding: utf-8 -*-
# stub: rack 2.2.3 ruby lib

Gem::Specification.new do |s|
  s.name = "rack".freeze
  s.version = "2.2.3"

  s.required_rubygems_version = Gem::Requirement.new(">= 0".freeze) if s.respond_to? :required_rubygems_version=
  s.require_paths = ["lib".freeze]
  s.licenses = ["MIT".freeze]

  if s.respond_to? :add_runtime_dependency then
    s.add_development_dependency(%q<minitest>.freeze, ["~> 5.0"])
  end
end
`

const depsJSON = `{
  "runtimeTarget": {"name": ".NETCoreApp,Version=v8.0/linux-x64"},
  "targets": {".NETCoreApp,Version=v8.0/linux-x64": {"App/1.0.0": {"dependencies": {"Newtonsoft.Json": "12.0.3"}, "runtime": {"App.dll": {}}}}},
  "libraries": {
    "App/1.0.0": {"type": "project", "serviceable": false, "sha512": ""},
    "Newtonsoft.Json/12.0.3": {"type": "package", "serviceable": true, "sha512": "sha512-x", "path": "newtonsoft.json/12.0.3"},
    "runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1": {"type": "runtimepack", "serviceable": false, "sha512": ""}
  }
}`

const composerLock = `{"_readme": ["This file locks the dependencies"], "content-hash": "x", "packages": [{"name": "symfony/http-kernel", "version": "v4.4.0", "type": "library"}], "packages-dev": []}`

const distInfo = "Metadata-Version: 2.1\nName: Jinja2\nVersion: 2.11.2\nSummary: x\nRequires-Dist: MarkupSafe (>=0.23)\n\nJinja2\n~~~~~~\n"

func TestLanguages(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"usr/lib/python3/dist-packages/Jinja2-2.11.2.dist-info/METADATA":    {distInfo, []string{"PyPI Jinja2 2.11.2 pkg:pypi/jinja2@2.11.2"}},
		"usr/lib/python3/dist-packages/Jinja2-2.11.2.egg-info":              {distInfo, []string{"PyPI Jinja2 2.11.2 pkg:pypi/jinja2@2.11.2"}},
		"usr/lib/python3/dist-packages/Jinja2-2.11.2.egg-info/PKG-INFO":     {distInfo, []string{"PyPI Jinja2 2.11.2 pkg:pypi/jinja2@2.11.2"}},
		"opt/eggs/Jinja2-2.11.2-py3.8.egg/EGG-INFO/PKG-INFO":                {distInfo, []string{"PyPI Jinja2 2.11.2 pkg:pypi/jinja2@2.11.2"}},
		"opt/eggs/Jinja2-2.11.2-py3.8.egg":                                  {archive(t, member{"EGG-INFO/PKG-INFO", distInfo, false}), []string{"PyPI Jinja2 2.11.2 pkg:pypi/jinja2@2.11.2"}},
		"app/node_modules/@babel/core/package.json":                         {`{"name": "@babel/core", "version": "7.0.0", "license": "MIT"}`, []string{"npm @babel/core 7.0.0 pkg:npm/%40babel/core@7.0.0"}},
		"usr/local/bundle/specifications/rack-2.2.3.gemspec":                {gemspec, []string{"RubyGems rack 2.2.3 pkg:gem/rack@2.2.3"}},
		"usr/lib/ruby/gems/3.1.0/specifications/default/rack-2.2.3.gemspec": {gemspec, []string{"RubyGems rack 2.2.3 pkg:gem/rack@2.2.3"}},
		"usr/local/bundle/bundler/gems/rack-0123456789ab/rack.gemspec":      {gemspec, []string{"RubyGems rack 2.2.3 pkg:gem/rack@2.2.3"}},
		"app/App.deps.json":                           {depsJSON, []string{"NuGet App 1.0.0 pkg:nuget/App@1.0.0 (main)", "NuGet Microsoft.NETCore.App.Runtime.linux-x64 8.0.1 pkg:nuget/Microsoft.NETCore.App.Runtime.linux-x64@8.0.1", "NuGet Newtonsoft.Json 12.0.3 pkg:nuget/Newtonsoft.Json@12.0.3"}},
		"app/composer.lock":                           {composerLock, []string{"Packagist symfony/http-kernel v4.4.0 pkg:composer/symfony/http-kernel@v4.4.0"}},
		"app/vendor/composer/installed.json":          {`{"packages": [{"name": "Symfony/Http-Kernel", "version": "v4.4.0"}], "dev": true}`, []string{"Packagist Symfony/Http-Kernel v4.4.0 pkg:composer/symfony/http-kernel@v4.4.0"}},
		"var/lib/dpkg/status":                         {dpkgStatus, []string{"libssl3 3.0.11-1~deb12u2+b1 < openssl 3.0.11-1~deb12u2"}},
		"var/lib/dpkg/status.d/libssl3":               {strings.Replace(dpkgStatus[:strings.Index(dpkgStatus, "\n\n")+1], "Status: install ok installed\n", "", 1), []string{"libssl3 3.0.11-1~deb12u2+b1 < openssl 3.0.11-1~deb12u2"}},
		"lib/apk/db/installed":                        {"C:Q1x=\nP:libcrypto3\nV:3.1.4-r5\nA:x86_64\no:openssl\nm:A <a@alpinelinux.org>\nL:Apache-2.0\nF:lib\nR:libcrypto.so.3\n\n", []string{"libcrypto3 3.1.4-r5 < openssl 3.1.4-r5"}},
		"usr/local/bundle/specifications/x-1.gemspec": {"Gem::Specification.new do |s|\n  s.name = NAME\n  s.version = VERSION\nend\n", nil},
		"app/vendor/cache/not.deps.json":              {"[1]", nil},
		"usr/local/lib/python3.9/site-packages/no_version-1.dist-info/METADATA": {"Metadata-Version: 2.1\nName: x\n\n", nil},
		"app/node_modules/no-name/package.json":                                 {`{"private": true}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			found := read(t, name, []byte(tt.text))
			var got []string
			for _, p := range found.Packages {
				text := p.Ecosystem + " " + p.Name + " " + p.Version + " " + p.PURL
				if p.Source != "" {
					text = p.Name + " " + p.Version + " < " + p.Source + " " + p.SourceVersion
				}
				if p.Main {
					text += " (main)"
				}
				got = append(got, text)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if fatal(found) {
				t.Error(found.Troubles)
			}
		})
	}
	if extract.Wants("usr/local/bundle/gems/rack-2.2.3/rack.gemspec") {
		t.Error("a gem would be found twice: by its specification, and by its recipe")
	}
}

// TestGemThatDoesNotSay is a gap, not nothing.
func TestGemThatDoesNotSay(t *testing.T) {
	found := read(t, "x/specifications/x-1.gemspec", []byte("Gem::Specification.new do |s|\n  s.name = NAME\nend\n"))
	if len(found.Troubles) != 1 || !found.Troubles[0].Uncovered {
		t.Errorf("got %+v", found)
	}
}

// TestRustSources: what is not from crates.io is not what crates.io has by that name.
func TestRustSources(t *testing.T) {
	record := `{"packages":[{"name":"app","version":"0.1.0","source":"local","root":true},{"name":"util","version":"1.0.0","source":"local"},
		{"name":"time","version":"0.1.40","source":"crates.io"},{"name":"fork","version":"1.0.0","source":"git"},
		{"name":"inner","version":"2.0.0","source":"registry"},{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"}]}`
	found := extract.RustForTest([]byte(packedZlib(t, record)))
	var got []string
	for _, p := range found {
		got = append(got, fmt.Sprintf("%s %q main=%v", p.Name, p.Ecosystem, p.Main))
	}
	want := []string{`app "crates.io" main=true`, `util "crates.io" main=true`, `time "crates.io" main=false`, `fork "crates.io" main=false`, `inner "" main=false`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func packedZlib(t testing.TB, text string) string {
	t.Helper()
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestHugeTexts are large and nasty: each must end soon.
func TestHugeTexts(t *testing.T) {
	fill := func(text string) []byte { return []byte(strings.Repeat(text, extract.RecordLimit/8/len(text))) }
	for name, texts := range map[string][]string{
		"specifications/x.gemspec":                 {"  s.name = \"x\"\n", "s.version = ", "#", "s.name = \"a\".freeze; "},
		"x.dist-info/METADATA":                     {"Name: x\n", " a\n", "Name", "\n"},
		"x/package.json":                           {"[", `{"name":`, `{"a":1,`},
		"composer.lock":                            {`{"packages":[`, "["},
		"vendor/composer/installed.json":           {`{"packages":[`, "["},
		"x.deps.json":                              {`{"libraries":{`, "{"},
		"META-INF/maven/a/b/pom.properties":        {"version=1\n", "groupId="},
		"var/lib/pacman/local/x-1-1/files":         {"%FILES%\n", "%FILES%\nusr/bin/"},
		"var/lib/dpkg/info/x.list":                 {"/usr/bin/x\n", "/usr/bin/"},
		"lib/apk/db/installed":                     {"P:x\n", "F:usr/bin/", "R:x\n", "P:x\nV:1\n\n"},
		"var/lib/dpkg/status":                      {"Package: x\nStatus: install ok installed\nVersion: 1\n\n", "Package: x\n", " x\n"},
		"var/lib/rpmmanifest/container-manifest-2": {"\t", "x\t1\t\t\t\t\t\t\t\tx-1-1.src.rpm\n"},
	} {
		for _, text := range texts {
			read(t, name, fill(text))
		}
	}
}

// fuzzedNames has a file for each reader of text.
var fuzzedNames = []string{
	"var/lib/dpkg/status", "var/lib/dpkg/status.d/x", "var/lib/dpkg/info/x.list", "lib/apk/db/installed", "x.dist-info/METADATA", "x.egg", "x/package.json",
	"specifications/x.gemspec", "composer.lock", "vendor/composer/installed.json", "x.deps.json", "var/lib/rpmmanifest/container-manifest-2",
	"var/lib/pacman/local/x-1-1/desc", "var/lib/pacman/local/x-1-1/files", "META-INF/maven/a/b/pom.properties",
}

func FuzzText(f *testing.F) {
	for i, text := range []string{dpkgStatus, distInfo, gemspec, depsJSON, composerLock, "C:Q\nP:a\nV:1\nF:lib\nR:x\n\n", "%NAME%\na\n\n%VERSION%\n1\n", `{"name":"a","version":"1"}`} {
		f.Add(uint8(i), []byte(text))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		name := fuzzedNames[int(which)%len(fuzzedNames)]
		for _, p := range read(t, name, data).Packages {
			if p.Name == "" || p.Version == "" || extract.SafeText(p.Name+p.Version) != p.Name+p.Version {
				t.Errorf("%s: got %+v", name, p)
			}
		}
	})
}
