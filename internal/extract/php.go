// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"encoding/json"
	"path"

	"github.com/google/osv-scalibr/purl"
)

// isInstalledPHP knows the list Composer keeps beside what it has installed. An
// image often has it and no composer.lock.
func isInstalledPHP(name string) bool {
	return path.Base(name) == "installed.json" && path.Base(path.Dir(name)) == "composer"
}

// addInstalledPHP reads Composer's list: an object since version 2, before it a
// bare list.
func (f *Found) addInstalledPHP(data []byte) {
	type installed struct{ Name, Version string }
	var list struct{ Packages []installed }
	err := json.Unmarshal(data, &list)
	if err != nil {
		err = json.Unmarshal(data, &list.Packages)
	}
	if err != nil {
		f.fail("not understood: it is no list of Composer's packages", false)
		return
	}
	for _, p := range list.Packages {
		f.add(Package{Ecosystem: "Packagist", Name: p.Name, Version: p.Version, PURL: PURL(purl.TypeComposer, p.Name, p.Version)})
	}
}
