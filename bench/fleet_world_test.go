// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"archive/zip"
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// A fleet as organisations have them: some lines of base images that are patched
// every month, runtimes built on these, and applications built again and again, each
// on the runtime of its day, with dependencies that change now and then. All follows
// from the number of images.
type fleetPlan struct {
	images, bases, runtimes, apps int
}

// planFleet keeps the proportions of a fleet of 100,000: 200 bases, 3,000 middle
// layers, 25 builds an application. A small fleet has as many bases for an image
// or two.
func planFleet(images int) fleetPlan {
	return fleetPlan{
		images: images, bases: max(10, min(200, images/50)), runtimes: max(20, min(3000, images/33)), apps: max(4, images/25),
	}
}

const (
	months   = 10   // versions of each base and runtime
	debs     = 3000 // source packages there are
	wheels   = 5000
	nodes    = 8000
	goModule = 3000
)

// built is one image of the fleet: its layers' names and what they bring.
type built struct {
	name    string
	layers  []madeLayer
	created time.Time
	os      component.OS
}

type madeLayer struct {
	name       string
	components []component.Component
	facts      []component.Fact
}

// fleetMaker makes images; equal numbers make equal fleets.
type fleetMaker struct {
	fleetPlan
	start time.Time
}

// zipf picks a package: few are in most images.
func zipf(r *rand.Rand, n int) int { u := r.Float64(); return int(float64(n) * u * u * u) }

func chance(kind string, n int) *rand.Rand {
	h := image.DigestOf(fmt.Appendf(nil, "%s %d", kind, n))
	return rand.New(rand.NewPCG(uint64(n), uint64(h[10])<<8|uint64(h[20])))
}

// base is the base image of a line in a month.
func (m fleetMaker) base(n int) (component.OS, madeLayer) {
	line, month := n/months, n%months
	r := chance("base", line)
	os := component.OS{ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12", Ecosystem: "Debian:12"}
	switch line % 5 {
	case 3:
		os = component.OS{ID: "alpine", VersionID: "3.20", Name: "Alpine Linux 3.20", Ecosystem: "Alpine:v3.20"}
	case 4:
		os = component.OS{ID: "almalinux", VersionID: "9", Name: "AlmaLinux 9", Ecosystem: "AlmaLinux:9"}
	}
	l := madeLayer{name: fmt.Sprintf("base %d", n)}
	for _, p := range some(r, 90+r.IntN(70), func() int { return zipf(r, debs) }) {
		l.components = append(l.components, systemPackage(os, p, month))
	}
	for _, tool := range []string{"sh", "bash", "dash", "apt-get", "dpkg"} {
		l.facts = append(l.facts, component.Fact{Kind: component.Shell, Path: "/usr/bin/" + tool, Detail: tool})
	}
	for i := range 8 {
		l.facts = append(l.facts, component.Fact{Kind: component.SetUID, Path: fmt.Sprintf("/usr/bin/setuid%d", i), Detail: "mode 4755"})
	}
	return os, l
}

// some draws different numbers.
func some(r *rand.Rand, n int, draw func() int) []int {
	seen := map[int]bool{}
	for tries := 0; len(seen) < n && tries < 20*n; tries++ {
		seen[draw()] = true
	}
	out := make([]int, 0, len(seen))
	for v := range seen {
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

// patched is the version of a package in a month: each is fixed now and then.
func patched(p, month int) int {
	steps := 0
	for i := range month + 1 {
		if (p*7+i*13)%17 == 0 {
			steps++
		}
	}
	return 1 + p%9 + steps
}

func systemPackage(os component.OS, p, month int) component.Component {
	source := fmt.Sprintf("source-package-%d", p)
	version := fmt.Sprintf("1.%d.0-1", patched(p, month))
	kind := map[string]string{"debian": "deb/debian", "alpine": "apk/alpine", "almalinux": "rpm/almalinux"}[os.ID]
	name := "lib" + source
	return component.Component{
		Ecosystem: os.Ecosystem, Name: name, Version: version, Source: source, SourceVersion: version, Arch: "amd64",
		PURL: fmt.Sprintf("pkg:%s/%s@%s?arch=amd64&distro=%s-%s", kind, name, version, os.ID, os.VersionID), Path: "var/lib/dpkg/status",
		Maintainer: "Maintainers <team@lists." + os.ID + ".org>",
	}
}

// runtime is the middle layer n: a language with its system packages, on a base.
func (m fleetMaker) runtime(n int) (base int, l madeLayer) {
	line, month := n/months, n%months
	r := chance("runtime", line)
	base = (r.IntN(max(1, m.bases/months))*months + month) % m.bases
	os, below := m.base(base)
	l.name = fmt.Sprintf("runtime %d", n)
	for _, p := range some(r, 20+r.IntN(50), func() int { return zipf(r, debs) }) {
		c := systemPackage(os, p, month)
		if !slices.ContainsFunc(below.components, func(b component.Component) bool { return b.PURL == c.PURL }) {
			l.components = append(l.components, c)
		}
	}
	for _, p := range some(r, 15+r.IntN(40), func() int { return zipf(r, wheels) }) {
		l.components = append(l.components, languagePackage(line, p, month, "usr/lib"))
	}
	return base, l
}

func languagePackage(line, p, age int, folder string) component.Component {
	version := fmt.Sprintf("1.%d.0", patched(p, age))
	if line%2 == 0 {
		name := fmt.Sprintf("python-library-%d", p)
		return component.Component{
			Ecosystem: "PyPI", Name: name, Version: version, PURL: "pkg:pypi/" + name + "@" + version,
			Path: folder + "/site-packages/" + name + "-" + version + ".dist-info/METADATA", Licenses: []string{"MIT"},
		}
	}
	name := fmt.Sprintf("node-package-%d", p)
	return component.Component{
		Ecosystem: "npm", Name: name, Version: version, PURL: "pkg:npm/" + name + "@" + version,
		Path: folder + "/node_modules/" + name + "/package.json", Licenses: []string{"MIT"},
	}
}

// app is build v of an application: its dependencies change every fifth build, its
// program with each.
func (m fleetMaker) app(n, v int) built {
	r := chance("app", n)
	line := r.IntN(max(1, m.runtimes/months))
	runtime := (line*months + v*months/25) % m.runtimes
	base, middle := m.runtime(runtime)
	os, system := m.base(base)
	b := built{name: fmt.Sprintf("app-%d:%d", n, v), os: os, layers: []madeLayer{system, middle}, created: m.start.Add(time.Duration(v) * 24 * time.Hour)}
	own := madeLayer{name: fmt.Sprintf("app %d %d", n, v)}
	if n%4 == 0 {
		for _, p := range some(r, 30+r.IntN(60), func() int { return zipf(r, goModule) }) {
			version := fmt.Sprintf("v1.%d.0", patched(p, v/5))
			name := fmt.Sprintf("example.com/module/%d", p)
			own.components = append(own.components, component.Component{
				Ecosystem: "Go", Name: name, Version: version, PURL: "pkg:golang/" + name + "@" + version, Path: "app/server",
			})
		}
		b.layers = append(b.layers, own)
		return b
	}
	deps := madeLayer{name: fmt.Sprintf("deps %d %d", n, v)}
	for _, p := range some(r, 40+r.IntN(120), func() int { return zipf(r, nodes) }) {
		deps.components = append(deps.components, languagePackage(line, p, v/5, "app"))
	}
	own.facts = []component.Fact{{Kind: component.WorldWritable, Path: "/app/cache", Detail: "mode 0777"}}
	b.layers = append(b.layers, deps, own)
	return b
}

// image is the image with a number: bases first, then runtimes, then applications.
func (m fleetMaker) image(i int) built {
	switch {
	case i < m.bases:
		os, l := m.base(i)
		return built{name: fmt.Sprintf("base-%d:%d", i/months, i%months), os: os, layers: []madeLayer{l}, created: m.start.Add(time.Duration(i%months) * 30 * 24 * time.Hour)}
	case i < m.bases+m.runtimes:
		n := i - m.bases
		base, l := m.runtime(n)
		os, system := m.base(base)
		return built{name: fmt.Sprintf("runtime-%d:%d", n/months, n%months), os: os, layers: []madeLayer{system, l}, created: m.start.Add(time.Duration(n%months) * 30 * 24 * time.Hour)}
	}
	n := i - m.bases - m.runtimes
	return m.app(n/25, n%25)
}

// evidence is what a scan would tell of an image.
func (b built) evidence() (*image.Image, verdict.Evidence) {
	img := &image.Image{ID: image.DigestOf([]byte("config " + b.name)), Name: "registry.example.com/" + b.name, Kind: image.KindImage}
	img.Manifests = []image.Digest{image.DigestOf([]byte("manifest " + b.name))}
	ev := verdict.Evidence{
		Image: verdict.Image{
			Name: img.Name, ID: string(img.ID), Platform: "linux/amd64", Kind: string(img.Kind), Created: b.created, User: "1000",
			Labels: map[string]string{"org.opencontainers.image.source": "https://git.example.com/" + b.name, "team": b.name[:5]}, Ports: []string{"8080/tcp"},
		},
		OS: b.os, Problems: []component.Problem{},
	}
	chain := ""
	for i, l := range b.layers {
		diff := image.DigestOf([]byte(l.name))
		img.Layers = append(img.Layers, image.Layer{DiffID: diff})
		if chain += " " + string(diff); i == 0 {
			chain = string(diff)
		} else {
			chain = string(image.DigestOf([]byte(chain)))
		}
		for _, c := range l.components {
			c.Layer, c.LayerIndex = diff, i
			ev.Components = append(ev.Components, c)
		}
		for _, f := range l.facts {
			f.Layer, f.LayerIndex = diff, i
			ev.Facts = append(ev.Facts, f)
		}
	}
	ev.Image.ChainID = chain
	return img, ev
}

// named tells how the packages of an ecosystem are called, and how many there are.
func named(ecosystem string) (string, int) {
	switch ecosystem {
	case "PyPI":
		return "python-library-%d", wheels
	case "npm":
		return "node-package-%d", nodes
	case "Go":
		return "example.com/module/%d", goModule
	}
	return "source-package-%d", debs
}

// record is an advisory with its id, month, two parts of its CVE's number, two of its
// vector, ecosystem, package and fixed version.
const record = `{"id":%q,"modified":"2026-0%d-01T00:00:00Z","published":"2026-01-01T00:00:00Z","aliases":["CVE-2026-%d%d"],
	"summary":"A flaw of some kind in a package that many use, told in one line of usual length","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:%s/I:%s/A:N"}],
	"affected":[{"package":{"ecosystem":%q,"name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":%q}]}]}]}`

// oneMore is a feed of one record, which hits all versions of a Debian package.
func oneMore(name string, edition int) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	f, err := z.Create("DSA-one.json")
	if err == nil {
		_, err = fmt.Fprintf(f, record, "DSA-one", 1+edition%9, 0, 1, "H", "H", "Debian:12", name, fmt.Sprintf("1.%d.0-1", 100+edition))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err)
	}
	return out.Bytes()
}

// advisories makes one feed: count records on the packages of an ecosystem. Edition
// changes the records whose number is below changed.
func advisories(ecosystem string, count, changed, edition int) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for i := range count {
		r := chance("advisory "+ecosystem, i)
		name, of := named(ecosystem)
		fixed := 1 + r.IntN(9)
		if i < changed {
			fixed += edition
		}
		version := fmt.Sprintf("1.%d.0", fixed)
		if strings.Contains(ecosystem, ":") {
			version += "-1"
		}
		id := fmt.Sprintf("%s-%d", map[bool]string{true: "DSA", false: "GHSA"}[strings.Contains(ecosystem, ":")], i) + strings.ToLower(ecosystem[:2])
		f, err := z.Create(id + ".json")
		if err == nil {
			_, err = fmt.Fprintf(f, record,
				id, 1+min(edition, 8)*min(1, max(0, changed-i)), i, ecosystem[1], []string{"H", "L", "N"}[r.IntN(3)], []string{"H", "L", "N"}[r.IntN(3)],
				ecosystem, fmt.Sprintf(name, r.IntN(of)), version)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}
