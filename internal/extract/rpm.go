// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"bytes"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
)

// rpmFolders are where RPM keeps its database: today, on immutable systems, and
// with an older link to it.
var rpmFolders = []string{"var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"}

// rpmFiles are the names of the database in its three formats (SQLite, ndb,
// Berkeley DB), and what SQLite has not yet written into it.
var rpmFiles = []string{"rpmdb.sqlite", "Packages.db", "Packages", rpmPending}

const rpmPending = "rpmdb.sqlite-wal"

func isRPMDatabase(name string) bool {
	return slices.Contains(rpmFolders, path.Dir(name)) && slices.Contains(rpmFiles, path.Base(name))
}

// RPMDatabases are the paths of RPM's database.
func RPMDatabases() []string {
	var out []string
	for _, folder := range rpmFolders {
		for _, file := range rpmFiles[:3] {
			out = append(out, folder+"/"+file)
		}
	}
	return out
}

// IsRPM reports whether packages found in a file are RPMs.
func IsRPM(name string) bool { return isRPMDatabase(name) || isRPMManifest(name) }

const (
	maxRPMHeader   = 64 << 20 // one package: the largest, with all their files, are under 16 MiB
	maxRPMPackages = 100_000
)

var errBroken = errors.New("the database is broken")

// readRPM reads a database, whatever its format: that is told by its first bytes,
// as RPM itself does. Each page of it is read once at most.
func readRPM(file File, out *Found) {
	if path.Base(file.Name) == rpmPending {
		if file.Size > 32 { // its header alone holds no change
			out.fail("changes of the RPM database that were not written into it yet are not read", true)
		}
		return
	}
	head := make([]byte, 16)
	if _, err := file.Content.ReadAt(head, 0); err != nil {
		out.fail("not understood: the RPM database is too short", true)
		return
	}
	walk := walkBerkeley
	switch {
	case bytes.HasPrefix(head, []byte("SQLite format 3\x00")):
		walk = walkSQLite
	case bytes.HasPrefix(head, []byte("RpmP")):
		walk = walkNDB
	}
	broken := 0
	files := newOwned()
	out.Owned = files.files
	err := walk(file, func(header []byte) error {
		h, err := parseHeader(header)
		if err != nil {
			broken++
			return nil
		}
		out.addRPM(h, files)
		if len(out.Packages) > maxRPMPackages {
			return errors.New("there are too many packages in it")
		}
		return nil
	})
	if err != nil {
		out.fail("RPM database not understood: "+short(err.Error()), true)
	}
	if broken > 0 {
		out.fail("records of the RPM database are broken", true)
	}
}

// addRPM takes in one package with the files it put in place.
func (f *Found) addRPM(h rpmHeader, files *owned) {
	name, release := h.text(tagName), h.text(tagRelease)
	if name == "gpg-pubkey" { // a key, kept as if it were a package
		return
	}
	p := Package{Name: name, Version: h.text(tagVersion), Arch: SafeText(h.text(tagArch)), Maintainer: SafeText(h.text(tagVendor))}
	if release != "" {
		p.Version += "-" + release
	}
	if epoch := h.number(tagEpoch); epoch != "" && epoch != "0" {
		p.Version = epoch + ":" + p.Version
	}
	if license := h.text(tagLicense); license != "" {
		p.Licenses = []string{SafeText(license)}
	}
	p.Source, p.SourceVersion = sourceRPM(h.text(tagSourceRPM), p)
	p.Module = rpmModule(h.text(tagModularity))
	before := len(f.Packages)
	f.add(p)
	if len(f.Packages) == before {
		f.fail("a package of the RPM database was left out", true)
		return
	}
	for folder, file := range h.files() {
		files.add(p.Name, folder, file)
	}
}

// sourceRPM takes "openssl-3.0.7-27.el9.src.rpm" apart. The name leaves the epoch
// out: Join finds it, from the packages of the same source.
func sourceRPM(file string, p Package) (name, version string) {
	stem, ok := strings.CutSuffix(file, ".rpm")
	if dot := strings.LastIndexByte(stem, '.'); ok && dot > 0 { // .src, .nosrc
		stem = stem[:dot]
	}
	release := strings.LastIndexByte(stem, '-')
	if release <= 0 {
		return SafeText(p.Name), SafeText(p.Version)
	}
	at := strings.LastIndexByte(stem[:release], '-')
	if at <= 0 || !plausible(stem) {
		return SafeText(p.Name), SafeText(p.Version)
	}
	return stem[:at], stem[at+1:]
}

// rpmModule cuts "nodejs:18:9040020240606:rhel9" to module and stream.
func rpmModule(label string) string {
	parts := strings.SplitN(label, ":", 3)
	if len(parts) < 2 || !plausible(label) {
		return ""
	}
	return parts[0] + ":" + parts[1]
}

// isRPMManifest knows the list that images without RPM have instead (Azure Linux
// "distroless").
func isRPMManifest(name string) bool { return name == "var/lib/rpmmanifest/container-manifest-2" }

// addRPMManifest reads lines of ten fields: name, version-release, install time,
// build time, vendor, epoch, size, architecture, epoch number, source package.
func (f *Found) addRPMManifest(data []byte) {
	for line := range lines(data) {
		fields := strings.Split(line, "\t")
		if line == "" {
			continue
		}
		if len(fields) != 10 {
			f.fail("not understood: a line that is no package", true)
			return
		}
		p := Package{Name: fields[0], Version: fields[1], Maintainer: SafeText(fields[4]), Arch: SafeText(fields[7])}
		if epoch := fields[8]; epoch != "" && epoch != "0" && isDigits(epoch) {
			p.Version = epoch + ":" + p.Version
		}
		p.Source, p.SourceVersion = sourceRPM(fields[9], p)
		f.add(p)
	}
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// readAt reads n bytes; less is an error.
func readAt(r io.ReaderAt, offset int64, n int) ([]byte, error) {
	data := make([]byte, n)
	if got, err := r.ReadAt(data, offset); got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = errBroken
		}
		return nil, err
	}
	return data, nil
}
