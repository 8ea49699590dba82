// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem/language/java/groupid"
	"github.com/google/osv-scalibr/purl"
)

// pom names a library as Maven does.
type pom struct{ group, artifact, version string }

func (p pom) whole() bool {
	return !slices.ContainsFunc([]string{p.group, p.artifact, p.version}, func(s string) bool {
		return !plausible(s) || strings.ContainsAny(s, "$:/")
	})
}

func isPomProperties(name string) bool {
	return path.Base(name) == "pom.properties" && strings.Contains("/"+name, "/META-INF/maven/")
}

// addPom takes in a library, once for each place.
func (f *Found) addPom(p pom, inside string) {
	if !p.whole() {
		f.gap(unknownLibrary)
		return
	}
	name := p.group + ":" + p.artifact
	again := slices.ContainsFunc(f.Packages, func(old Package) bool {
		return old.Name == name && old.Version == p.version && old.Inside == inside
	})
	if !again {
		f.add(Package{Ecosystem: "Maven", Name: name, Version: p.version, PURL: PURL(purl.TypeMaven, name, p.version), Inside: inside})
	}
}

// identify says which libraries an archive holds. What Maven wrote into it is
// believed. It may be of several, where they were melted into one ("shaded"); where
// none of them is the archive itself by its file's name, the manifest is asked, too.
func (r *javaReader) identify(j *jar) {
	for _, p := range j.projects {
		if !slices.ContainsFunc(j.poms, func(q pom) bool { return q.group == p.group && q.artifact == p.artifact }) {
			j.poms = append(j.poms, p)
		}
	}
	artifact, version := fromFileName(j.name)
	own := false
	for _, p := range j.poms {
		if p.whole() {
			r.out.addPom(p, j.inside)
			own = own || strings.HasPrefix(artifact, p.artifact) || strings.HasSuffix(artifact, "."+p.artifact)
		}
	}
	if own {
		return
	}
	if p, ok := j.manifest.library(artifact, version); ok {
		r.out.addPom(p, j.inside)
		return
	}
	if j.classes && !j.application() {
		r.out.gap(unknownLibrary)
	}
}

// application reports whether an archive is somebody's own program, that names no
// library and is none: a web application, or one that is started and says where
// its libraries are, or names those that were melted into it.
func (j *jar) application() bool {
	if ext := strings.ToLower(path.Ext(j.name)); ext == ".war" || ext == ".ear" {
		return true
	}
	m := j.manifest
	return m["Start-Class"] != "" || m["Main-Class"] != "" && (j.inner || m["Class-Path"] != "" || len(j.poms) > 0)
}

// parsePomProperties reads Maven's three lines (java.util.Properties, of which
// Maven writes the plain form).
func parsePomProperties(data []byte) pom {
	var p pom
	for line := range lines(data) {
		key, value, _ := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "groupId":
			p.group = value
		case "artifactId":
			p.artifact = value
		case "version":
			p.version = value
		}
	}
	return p
}

// parseProject reads a pom.xml. Its path, META-INF/maven/GROUP/ARTIFACT/pom.xml,
// names the library; only the version is inside, perhaps its parent's.
func parseProject(data []byte, name string) pom {
	var project struct {
		Version string `xml:"version"`
		Parent  struct {
			Version string `xml:"version"`
		} `xml:"parent"`
	}
	parts := strings.Split(name, "/")
	if err := xml.NewDecoder(bytes.NewReader(data)).Decode(&project); err != nil || len(parts) != 5 {
		return pom{}
	}
	return pom{parts[2], parts[3], strings.TrimSpace(cmp.Or(project.Version, project.Parent.Version))}
}

// manifest is the main section of a META-INF/MANIFEST.MF.
type manifest map[string]string

// parseManifest reads "Name: value" lines until the first empty one. A line that
// begins with a blank goes on with the one before (JAR File Specification).
func parseManifest(data []byte) manifest {
	m := manifest{}
	last := ""
	for line := range lines(data) {
		if more, ok := strings.CutPrefix(line, " "); ok && last != "" {
			if len(m[last])+len(more) < 4096 {
				m[last] += more
			}
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if line == "" && len(m) > 0 || len(m) > 500 {
			break
		}
		if last = ""; ok {
			last = strings.TrimSpace(key)
			m[last] = strings.TrimSpace(value)
		}
	}
	return m
}

// library names a library that has no project file of Maven, most often one built
// by Gradle. Only a group that is certain counts: a wrong name would find nothing
// and look clean.
func (m manifest) library(artifact, version string) (pom, bool) {
	symbolic, _, _ := strings.Cut(m["Bundle-SymbolicName"], ";")
	if version == "" { // the file may have been renamed
		artifact = cmp.Or(m["Implementation-Title"], artifact)
	}
	version = cmp.Or(version, m["Implementation-Version"], m["Bundle-Version"])
	p := pom{artifact: artifact, version: version}
	for _, group := range []string{knownGroup(artifact), m["Implementation-Vendor-Id"], bundleGroup(symbolic, artifact)} {
		if p.group = group; looksLikeGroup.MatchString(group) && p.whole() {
			return p, true
		}
	}
	return pom{}, false
}

var looksLikeGroup = regexp.MustCompile(`^[A-Za-z][\w-]*(\.[\w-]+)+$`)

// bundleGroup undoes what Maven's bundle plugin does: a bundle's name is group and
// artifact, less the end of the group the artifact begins with, as
// "org.apache.commons.lang3" of org.apache.commons and commons-lang3.
func bundleGroup(bundle, artifact string) string {
	if artifact == "" {
		return ""
	}
	if bundle == artifact {
		return "" // it may be all of it, or its end
	}
	if strings.HasSuffix(bundle, "."+artifact) {
		group := strings.TrimSuffix(bundle, "."+artifact)
		return group
	}
	for i, c := range bundle {
		if c != '.' {
			continue
		}
		group, rest := bundle[:i], bundle[i+1:]
		last := group[strings.LastIndexByte(group, '.')+1:]
		if artifact == last+"-"+rest || artifact == last+"."+rest {
			return group
		}
	}
	return ""
}

// gradleBuilt are libraries much used whose archives name no group. A name that
// ends in "-" stands for all that begin so.
var gradleBuilt = map[string]string{
	"spring-boot": "org.springframework.boot", "spring-boot-": "org.springframework.boot", "spring-security-": "org.springframework.security",
	"spring-aop": "org.springframework", "spring-aspects": "org.springframework", "spring-beans": "org.springframework",
	"spring-context": "org.springframework", "spring-context-support": "org.springframework", "spring-core": "org.springframework",
	"spring-expression": "org.springframework", "spring-jcl": "org.springframework", "spring-jdbc": "org.springframework",
	"spring-jms": "org.springframework", "spring-messaging": "org.springframework", "spring-orm": "org.springframework",
	"spring-oxm": "org.springframework", "spring-r2dbc": "org.springframework", "spring-test": "org.springframework",
	"spring-tx": "org.springframework", "spring-web": "org.springframework", "spring-webflux": "org.springframework",
	"spring-webmvc": "org.springframework", "spring-websocket": "org.springframework",
	"kotlin-stdlib": "org.jetbrains.kotlin", "kotlin-stdlib-": "org.jetbrains.kotlin", "kotlin-reflect": "org.jetbrains.kotlin",
	"okhttp": "com.squareup.okhttp3", "okio": "com.squareup.okio", "okio-jvm": "com.squareup.okio",
	"reactor-core": "io.projectreactor", "reactor-netty-": "io.projectreactor.netty", "micrometer-": "io.micrometer",
	"elasticsearch": "org.elasticsearch", "snakeyaml": "org.yaml",
}

func knownGroup(artifact string) string {
	if group := cmp.Or(gradleBuilt[artifact], groupid.FromArtifactID(artifact)); group != "" {
		return group
	}
	for i, c := range artifact {
		if group := gradleBuilt[artifact[:i+1]]; c == '-' && group != "" {
			return group
		}
	}
	return ""
}

// fileVersion finds the version in "guava-31.1-jre": from the first hyphen that a
// digit follows.
var fileVersion = regexp.MustCompile(`^(.+?)-(\d.*)$`)

func fromFileName(name string) (artifact, version string) {
	base := path.Base(name)
	base = strings.TrimSuffix(base, path.Ext(base))
	if m := fileVersion.FindStringSubmatch(base); m != nil {
		return m[1], m[2]
	}
	return base, ""
}
