// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"path"
	"slices"
	"strings"
)

// cleanName returns the path inside the image, without a leading slash.
func cleanName(name string) (string, bool) {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	leadsOut := slices.Contains(strings.Split(name, "/"), "..")
	return safeText(clean), !leadsOut && len(name) <= maxPath
}

func trim(s string) string { return s[:min(len(s), 100)] }

// isWhiteout handles OCI whiteouts (image-spec, layer.md). They speak of lower
// layers only. Odd ones, that name nothing or stand in the middle of a path, are ignored.
func (w *walk) isWhiteout(name string) bool {
	const prefix = ".wh."
	dir, last := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if strings.Contains("/"+dir, "/"+prefix) {
		w.problem(Problem{Path: name, Reason: "a whiteout used as a folder was ignored"})
		return true
	}
	target, ok := strings.CutPrefix(last, prefix)
	switch {
	case !ok:
		return false
	case target == prefix+".opq":
		w.opaque[dir] = true
	case target == "" || target == "." || target == "..":
		w.problem(Problem{Path: name, Reason: "a whiteout that names nothing was ignored"})
	case !strings.HasPrefix(target, prefix): // .wh..wh.* is aufs bookkeeping
		w.whiteouts[path.Join(dir, target)] = true
	}
	return true
}

// throughLinks follows symbolic links among the folders of a path, as unpacking
// does. Links resolve inside the layer only.
func (w *walk) throughLinks(name string) string {
	if len(w.links) == 0 {
		return name
	}
	for range linkSteps {
		next, changed := w.followFirstLink(name)
		if !changed {
			return name
		}
		w.followed++
		name = next
		if len(name) > maxPath {
			return name
		}
	}
	return name
}

func (w *walk) followFirstLink(name string) (string, bool) {
	for i, c := range name {
		if c != '/' {
			continue
		}
		if target, ok := w.links[name[:i]]; ok {
			return path.Join(linkTarget(name[:i], target), name[i+1:]), true
		}
	}
	return name, false
}

// linkTarget is where a symbolic link points, as a path inside the image.
func linkTarget(link, target string) string {
	if !path.IsAbs(target) {
		target = path.Join("/", path.Dir(link), target)
	}
	return strings.TrimPrefix(path.Clean(target), "/")
}
