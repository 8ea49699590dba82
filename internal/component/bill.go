// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

// Distribution is the distribution with these ID, VERSION_ID and PRETTY_NAME of
// os-release, as Join finds it in an image.
func Distribution(id, version, name string) OS {
	return osFrom(map[string]string{"ID": id, "VERSION_ID": version, "VERSION": version, "PRETTY_NAME": name})
}

// SystemPURL writes the package URL of a distribution's package as Join does. kind
// is its type: deb, apk or rpm.
func SystemPURL(kind, namespace string, os OS, c Component) string {
	return distroPURL(kind, namespace, os, c)
}
