// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"bytes"
	"compress/zlib"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/google/osv-scalibr/purl"
)

// HasMark looks for what every Go program, and every Rust program built with
// cargo-auditable, has in it: a quick way past all the C libraries.
func HasMark(data []byte) bool {
	return bytes.Contains(data, []byte("\xff Go buildinf:")) || bytes.Contains(data, []byte(".dep-v0"))
}

// Program returns the packages an executable file was built from, where it tells:
// Go's build record, or cargo-auditable's.
func Program(file File) (found Found) {
	defer func() { // the debug packages are not made for hostile files
		if r := recover(); r != nil {
			found.fail(fmt.Sprintf("the program's build record is broken: %v", r), true)
		}
	}()
	if info, err := buildinfo.Read(file.Content); err == nil {
		found.Packages = goPackages(info, linkedPackages(file.Content))
		return found
	}
	packages, err := rustPackages(file.Content)
	if err != nil {
		found.fail("the program's build record is not understood", false)
	}
	found.Packages = packages
	return found
}

// goPackages lists the standard library, the modules and the main module.
func goPackages(info *debug.BuildInfo, linked []string) []Package {
	modules := []Package{{Name: "stdlib", Version: goVersion(info.GoVersion)}}
	if info.Main.Path != "" {
		modules = append(modules, Package{Name: info.Main.Path, Version: orElse(info.Main.Version, "(devel)"), Main: true})
	}
	for _, dep := range info.Deps {
		if dep.Replace != nil && dep.Replace.Version != "" {
			dep = dep.Replace
		}
		modules = append(modules, Package{Name: dep.Path, Version: dep.Version})
	}
	var out []Package
	for _, c := range modules {
		if !plausible(c.Name) || !plausible(c.Version) {
			continue
		}
		c.Ecosystem = "Go"
		c.PURL = PURL(purl.TypeGolang, c.Name, c.Version)
		out = append(out, c)
	}
	sharePackages(out, linked)
	return out
}

// goVersion turns "go1.26.8 X:jsonv2" or "devel go1.27-abc" into "1.26.8" or "1.27-abc".
func goVersion(s string) string {
	for _, word := range strings.Fields(s) {
		if v, ok := strings.CutPrefix(word, "go"); ok {
			return v
		}
	}
	return "unknown"
}

// sharePackages gives each linked package to the module it belongs to: the one
// with the longest path; what has no dot in its first element is the standard library's.
func sharePackages(modules []Package, linked []string) {
	for _, pkg := range linked {
		best := -1
		for i, m := range modules {
			inside := pkg == m.Name || strings.HasPrefix(pkg, m.Name+"/")
			if inside && (best < 0 || len(m.Name) > len(modules[best].Name)) {
				best = i
			}
		}
		first, _, _ := strings.Cut(pkg, "/")
		if best < 0 && !strings.Contains(first, ".") && pkg != "main" && modules[0].Name == "stdlib" {
			best = 0
		}
		if best >= 0 {
			modules[best].Packages = append(modules[best].Packages, pkg)
		}
	}
}

// maxRustRecord bounds the unpacked record of cargo-auditable.
const maxRustRecord = 16 << 20

// rustPackages reads what cargo-auditable put into the program: zlib'd JSON in
// the section .dep-v0.
func rustPackages(r io.ReaderAt) ([]Package, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".dep-v0")
	if section == nil {
		return nil, nil
	}
	return rustRecord(io.LimitReader(section.Open(), maxRustRecord))
}

// rustRecord unpacks the record and lists its packages.
func rustRecord(packed io.Reader) ([]Package, error) {
	z, err := zlib.NewReader(packed)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	var record struct {
		Packages []struct {
			Name, Version, Source, Kind string
			Root                        bool
		}
	}
	if err := json.NewDecoder(io.LimitReader(z, maxRustRecord)).Decode(&record); err != nil {
		return nil, err
	}
	var out []Package
	for _, pkg := range record.Packages {
		if pkg.Kind == "build" || !plausible(pkg.Name) || !plausible(pkg.Version) {
			continue // build dependencies are not in the program
		}
		p := Package{PURL: PURL(purl.TypeCargo, pkg.Name, pkg.Version), Name: pkg.Name, Version: pkg.Version}
		switch {
		case pkg.Root, pkg.Source == "local":
			p.Main, p.Ecosystem = true, "crates.io" // own code: the registry's crate of that name is another
		case pkg.Source != "registry": // "registry": one that is not crates.io
			p.Ecosystem = "crates.io" // also a crate from Git: a flaw too many is better than one missed
		}
		out = append(out, p)
	}
	return out, nil
}

// pclntab returns an ELF file's table of Go functions, where it has one.
func pclntab(r io.ReaderAt) ([]byte, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, name := range []string{".gopclntab", ".data.rel.ro.gopclntab"} {
		if s := f.Section(name); s != nil && s.Type == elf.SHT_PROGBITS && s.Size < 1<<30 {
			return s.Data()
		}
	}
	return nil, nil
}
