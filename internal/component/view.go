// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"path"
	"strings"
)

// view answers what a container sees: the layers, one over the other, as the OCI
// image-spec (layer.md) has them.
type view []*LayerReport

// covers reports whether layer r hides or replaces what lower layers have at p.
func (r *LayerReport) covers(p string) bool {
	if contains(r.Paths, p) || contains(r.Paths, p+"/") || contains(r.Whiteouts, p) {
		return true
	}
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		if dir == "." {
			return contains(r.Opaque, "")
		}
		if contains(r.Opaque, dir) || contains(r.Whiteouts, dir) || contains(r.Paths, dir) {
			return true
		}
	}
}

// visible reports whether what layer i has at p is still seen from above.
func (v view) visible(i int, p string) bool {
	for _, above := range v[i+1:] {
		if above.covers(p) {
			return false
		}
	}
	return true
}

// lookup finds the layer that provides p, or -1.
func (v view) lookup(p string) int {
	for i := len(v) - 1; i >= 0; i-- {
		if contains(v[i].Paths, p) || contains(v[i].Paths, p+"/") {
			return i
		}
		if v[i].covers(p) {
			return -1
		}
	}
	return -1
}

// resolve follows symbolic links inside the image, also among the folders of p.
// It returns "" where a link leads nowhere or in circles.
func (v view) resolve(p string) string {
	done, rest := "", strings.Split(p, "/")
	for steps := 0; len(rest) > 0; {
		next := strings.TrimPrefix(path.Join(done, rest[0]), "/")
		rest = rest[1:]
		i := v.lookup(next)
		if i < 0 && len(rest) == 0 {
			return ""
		}
		target, linked := "", false
		if i >= 0 {
			target, linked = v[i].Links[next]
		}
		if !linked {
			done = next
			continue
		}
		if steps++; steps > linkSteps {
			return ""
		}
		done, rest = "", append(strings.Split(linkTarget(next, target), "/"), rest...)
	}
	return done
}
