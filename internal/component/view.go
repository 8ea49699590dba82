// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"path"
	"strings"
)

// view answers what a container sees: the layers, one over the other, as the OCI
// image-spec (layer.md) has them.
type view struct {
	layers  []*LayerReport
	folders []map[string]bool // for each layer: does it hide what lower layers have in this folder?
}

func newView(layers []*LayerReport) *view {
	v := &view{layers: layers, folders: make([]map[string]bool, len(layers))}
	for i := range layers {
		v.folders[i] = map[string]bool{}
	}
	return v
}

// covers reports whether layer i hides or replaces what lower layers have at p.
func (v *view) covers(i int, p string) bool {
	r := v.layers[i]
	return contains(r.Paths, p) || contains(r.Paths, p+"/") || contains(r.Whiteouts, p) || v.coversFolder(i, path.Dir(p))
}

// coversFolder reports whether layer i hides all that lower layers have in dir.
func (v *view) coversFolder(i int, dir string) bool {
	r := v.layers[i]
	if dir == "." {
		return contains(r.Opaque, "")
	}
	known, ok := v.folders[i][dir]
	if !ok {
		known = contains(r.Opaque, dir) || contains(r.Whiteouts, dir) || contains(r.Paths, dir) || v.coversFolder(i, path.Dir(dir))
		v.folders[i][dir] = known
	}
	return known
}

// visible reports whether what layer i has at p is still seen from above.
func (v *view) visible(i int, p string) bool {
	for above := i + 1; above < len(v.layers); above++ {
		if v.covers(above, p) {
			return false
		}
	}
	return true
}

// lookup finds the layer that provides p, or -1.
func (v *view) lookup(p string) int {
	for i := len(v.layers) - 1; i >= 0; i-- {
		if contains(v.layers[i].Paths, p) || contains(v.layers[i].Paths, p+"/") {
			return i
		}
		if v.covers(i, p) {
			return -1
		}
	}
	return -1
}

// resolve follows symbolic links inside the image, also among the folders of p.
// It returns "" where a link leads nowhere or in circles.
func (v *view) resolve(p string) string {
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
			target, linked = v.layers[i].Links[next]
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
