// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"path"
	"slices"
	"strings"
)

// Surroundings are where an image runs, as far as anybody knows: what it declares
// and what an agent saw of its instances. The zero value says that nothing is known.
type Surroundings struct {
	Exposed   []string // the ports the image declares: "8080/tcp"
	Listening []Socket // the sockets an agent saw
	Executed  []string // files of the image an agent saw running or mapped; nil: nobody looked
	Packages  []string // packages of the distribution that have such files; nil: not known
}

// Socket is a port a program of the image accepts connections at, from outside
// its own network namespace's loopback.
type Socket struct {
	Port string `json:"port"` // "8080/tcp"
	Path string `json:"path"` // the program, as a path in the image
}

// Reach tells whether the network leads to a finding.
type Reach string

// How the network leads to a finding; "" where nothing says that it does.
const (
	Listening Reach = "listening" // an agent saw the workload accept connections, and the component may be part of that
	Exposed   Reach = "exposed"   // the image declares a port
)

// Place returns the findings as they stand in their surroundings, most urgent
// first: how they can be reached, whether they were seen running, how urgent they
// are and why. It may be called again when more is known; it changes nothing it is
// given. The rules are in docs/urgency.md.
func Place(findings []Finding, s Surroundings) []Finding {
	w := newWatched(s)
	placed := slices.Clone(findings)
	for i := range placed {
		f := &placed[i]
		f.Executed = w.executed(*f)
		f.Reach = w.reach(*f)
	}
	Weigh(placed)
	Sort(placed)
	return placed
}

// Weigh works out anew how urgent each finding is and why, where something else
// of it has changed: it was excused, or an earlier version of Goldkeep kept it.
func Weigh(findings []Finding) {
	for i := range findings {
		f := &findings[i]
		f.Urgency, f.UrgencyWhy = urgency(*f)
	}
}

// watched are surroundings made ready for many questions.
type watched struct {
	exposed   bool
	listening bool
	holders   map[string]bool // programs with a socket
	files     map[string]bool // seen running or mapped; nil: nobody looked
	folders   map[string]bool // of these
	packages  map[string]bool // nil: not known
}

func newWatched(s Surroundings) watched {
	w := watched{exposed: len(s.Exposed) > 0, listening: len(s.Listening) > 0, holders: map[string]bool{}}
	for _, l := range s.Listening {
		w.holders[inImage(l.Path)] = true
	}
	if s.Executed != nil {
		w.files, w.folders = map[string]bool{}, map[string]bool{}
	}
	for _, name := range s.Executed {
		name = inImage(name)
		w.files[name] = true
		for dir := path.Dir(name); dir != "." && !w.folders[dir]; dir = path.Dir(dir) {
			w.folders[dir] = true
		}
	}
	if s.Packages != nil {
		w.packages = map[string]bool{}
	}
	for _, name := range s.Packages {
		w.packages[name] = true
	}
	return w
}

// inImage writes a path as components do.
func inImage(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// executed tells whether a component was seen running. What a kernel shows are
// programs and libraries: of a package of scripts, only that it has such a file
// that ran can be known, never that it did not run.
func (w watched) executed(f Finding) *bool {
	yes, no := true, false
	switch {
	case len(f.Binaries) > 0: // a distribution's package
		if w.packages == nil {
			return nil
		}
		// A package may be all scripts and data, and a library be mapped by what runs
		// for a moment: that it was not seen says nothing.
		if slices.ContainsFunc(f.Binaries, func(name string) bool { return w.packages[name] }) {
			return &yes
		}
		return nil
	case w.files == nil:
		return nil
	case w.files[inImage(f.Path)]:
		return &yes
	case isProgram(f):
		return &no
	case w.folders[packageFolder(f.Path)]:
		return &yes
	}
	return nil
}

// isProgram: the component is linked into the file it was found in.
func isProgram(f Finding) bool { return f.Ecosystem == "Go" || f.Ecosystem == "crates.io" }

// packageFolder is where the files of a package lie whose description is at name:
// "site-packages/orjson" for "site-packages/orjson-3.8.3.dist-info/METADATA", and
// "node_modules/bcrypt" for "node_modules/bcrypt/package.json".
func packageFolder(name string) string {
	dir := path.Dir(inImage(name))
	if stem, ok := strings.CutSuffix(dir, ".dist-info"); ok {
		at := strings.LastIndexByte(stem, '/') + 1
		pkg, _, _ := strings.Cut(stem[at:], "-")
		return stem[:at] + pkg
	}
	if strings.HasSuffix(dir, "site-packages") || strings.HasSuffix(dir, "dist-packages") || dir == "." {
		return "" // shared by many
	}
	return dir
}

// reach tells how the network leads to a finding. A component of which nobody
// knows whether it runs may be part of what listens.
func (w watched) reach(f Finding) Reach {
	runs := f.Executed == nil || *f.Executed
	switch {
	case w.holders[inImage(f.Path)], w.listening && runs:
		return Listening
	case w.exposed:
		return Exposed
	}
	return ""
}
