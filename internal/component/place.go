// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"path"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/extract"
)

// put notes what stands at name now. What stood there before is gone, with all
// below it where a folder gives way to a file.
func (w *walk) put(name string, k kind) {
	old, again := w.seen[name]
	if again && (old != isDir || k != isDir) {
		w.twice[name] = true
	}
	if again && old == isDir && k != isDir {
		w.dropBelow(name)
	}
	w.dropFilesAbove(name)
	w.seen[name] = k
	delete(w.found, name)
	delete(w.links, name)
}

func (w *walk) dropBelow(folder string) {
	w.replaced++
	for p := range w.seen {
		if strings.HasPrefix(p, folder+"/") {
			w.drop(p)
		}
	}
}

// dropFilesAbove removes a file in whose place name now needs a folder.
func (w *walk) dropFilesAbove(name string) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if k, ok := w.seen[dir]; ok {
			if k != isDir {
				w.twice[dir] = true
				w.drop(dir)
				w.seen[dir] = isDir
			}
			return
		}
	}
}

func (w *walk) drop(p string) {
	delete(w.seen, p)
	delete(w.found, p)
	delete(w.links, p)
}

func (w *walk) keep(name string, f *fileFindings) {
	if f != nil && !f.empty() {
		w.components += len(f.components)
		w.found[name] = f
	}
}

// hardLink gives name the findings of its target. A target in a lower layer is
// not known here; where that could hide a package, it is said.
func (w *walk) hardLink(name, target string) {
	to, ok := cleanName(target)
	to = w.throughLinks(to)
	if !ok || to == name {
		w.problem(Problem{Path: name, Reason: "a hard link to itself or out of the image was ignored"})
		return
	}
	old := w.found[to]
	_, present := w.seen[to]
	w.put(name, isFile)
	findings := &fileFindings{facts: namedFacts(name)}
	if old != nil {
		findings.facts = append(findings.facts, old.modeFacts(name)...)
	}
	if w.files.wants(name) {
		switch {
		case old != nil && w.files.wants(to) && (path.Base(to) == path.Base(name) || extract.IsJava(to) && extract.IsJava(name)):
			findings.components = relocate(old.components, name)
		case !present || !w.files.wants(to):
			w.problem(Problem{Path: name, Reason: "a hard link to " + to + ", which was not read", Fatal: true})
		}
	}
	w.keep(name, findings)
}

func relocate(all []Component, name string) []Component {
	out := slices.Clone(all)
	for i := range out {
		out[i].Path = name
	}
	return out
}
