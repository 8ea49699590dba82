// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/depsjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagejson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/php/composerlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/wheelegg"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemspec"
	"github.com/google/osv-scalibr/extractor/filesystem/os/apk"
	apkmeta "github.com/google/osv-scalibr/extractor/filesystem/os/apk/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/os/dpkg"
	dpkgmeta "github.com/google/osv-scalibr/extractor/filesystem/os/dpkg/metadata"
	scalibrlog "github.com/google/osv-scalibr/log"
	"github.com/google/osv-scalibr/purl"
)

// parser wraps one of OSV-Scalibr's extractors.
type parser struct {
	extract filesystem.Extractor
	fatal   bool // where it fails, packages were missed
}

// silence is a logger that says nothing: what matters comes back as an error.
type silence struct{}

func (silence) Errorf(string, ...any) {}
func (silence) Error(...any)          {}
func (silence) Warnf(string, ...any)  {}
func (silence) Warn(...any)           {}
func (silence) Infof(string, ...any)  {}
func (silence) Info(...any)           {}
func (silence) Debugf(string, ...any) {}
func (silence) Debug(...any)          {}

// parsers returns one parser for each kind of metadata file. They keep no state.
var parsers = sync.OnceValue(func() []parser {
	scalibrlog.SetLogger(silence{})
	cfg := &cpb.PluginConfig{}
	var all []parser
	add := func(fatal bool, make func(*cpb.PluginConfig) (filesystem.Extractor, error)) {
		if e, err := make(cfg); err == nil { // they fail on a wrong cfg only
			all = append(all, parser{e, fatal})
		}
	}
	add(true, dpkg.New)
	add(true, apk.New)
	add(false, wheelegg.New)
	add(false, packagejson.New)
	add(false, gemspec.New)
	add(false, composerlock.New)
	add(false, depsjson.New)
	return all
})

// required asks by name alone: sizes are our own affair, so that a file that is
// too large is reported, not passed over.
func (p parser) required(name string) bool { return p.extract.FileRequired(named{name: name}) }

func parserFor(name string) *parser {
	all := parsers()
	for i := range all {
		if all[i].required(name) && !isGemSource(name) {
			return &all[i]
		}
	}
	return nil
}

// read hands one file to the extractor and takes in what it finds.
func (p parser) read(ctx context.Context, f *Found, name string, data []byte) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // npm and pip read files with a byte order mark, too
	found, err := p.extractSafely(ctx, name, data)
	gem := strings.HasSuffix(name, ".gemspec")
	if err != nil && !gem {
		f.fail("not understood: "+short(err.Error()), p.fatal)
	}
	for _, pkg := range found {
		f.add(toPackage(pkg))
	}
	if len(found) == 0 && gem {
		f.gap("a Ruby gem whose name or version is not written out")
	}
}

// isGemSource knows the recipe a gem has in its own folder. The one that counts is
// among the specifications; gems taken from Git have no other.
func isGemSource(name string) bool {
	return strings.HasSuffix(name, ".gemspec") && strings.Contains(name, "/gems/") &&
		!strings.Contains(name, "/specifications/") && !strings.Contains(name, "/bundler/gems/")
}

// extractSafely keeps a fault in a parser of hostile files from ending the server.
func (p parser) extractSafely(ctx context.Context, name string, data []byte) (found []*extractor.Package, err error) {
	defer func() {
		if r := recover(); r != nil {
			found, err = nil, fmt.Errorf("the parser failed: %v", r)
		}
	}()
	inv, err := p.extract.Extract(ctx, &filesystem.ScanInput{
		FS: noFiles{}, Path: name, Info: named{name, int64(len(data))}, Reader: bytes.NewReader(data),
	})
	return inv.Packages, err
}

// toPackage reads what Goldkeep needs of an extractor's package.
func toPackage(p *extractor.Package) Package {
	c := Package{Name: p.Name, Version: p.Version}
	for _, l := range p.Licenses {
		if l != "" {
			c.Licenses = append(c.Licenses, SafeText(l))
		}
	}
	switch m := p.Metadata.(type) {
	case *dpkgmeta.Metadata:
		c.Arch, c.Maintainer = SafeText(m.Architecture), SafeText(m.Maintainer)
		c.Source, c.SourceVersion = orElse(m.SourceName, c.Name), orElse(m.SourceVersion, c.Version)
		return c
	case *apkmeta.Metadata:
		c.Arch, c.Maintainer = SafeText(m.Architecture), SafeText(m.Maintainer)
		c.Source, c.SourceVersion = orElse(m.OriginName, c.Name), c.Version
		return c
	}
	if m, ok := p.Metadata.(*depsjson.Metadata); ok {
		c.Main = m.Type == "project" // own code: the registry's package of that name is another
		c.Name = strings.TrimPrefix(c.Name, "runtimepack.")
	}
	c.Ecosystem = languageEcosystems[p.PURLType]
	c.PURL = PURL(p.PURLType, c.Name, c.Version)
	return c
}

var languageEcosystems = map[string]string{
	purl.TypePyPi: "PyPI", purl.TypeNPM: "npm", purl.TypeGem: "RubyGems", purl.TypeComposer: "Packagist",
	purl.TypeNuget: "NuGet", purl.TypeCargo: "crates.io", purl.TypeGolang: "Go",
}

// named is a file known by name, as extractors ask for it.
type named struct {
	name string
	size int64
}

func (n named) Path() string               { return n.name }
func (n named) Stat() (fs.FileInfo, error) { return n, nil }
func (n named) Name() string               { return n.name }
func (n named) Size() int64                { return n.size }
func (n named) Mode() fs.FileMode          { return 0o644 }
func (n named) ModTime() time.Time         { return time.Time{} }
func (n named) IsDir() bool                { return false }
func (n named) Sys() any                   { return nil }

// noFiles is the file system extractors see: one layer, of which they get one
// file at a time. They can reach nothing else, least of all this machine.
type noFiles struct{}

func (noFiles) Open(name string) (fs.File, error)          { return nil, notThere("open", name) }
func (noFiles) Stat(name string) (fs.FileInfo, error)      { return nil, notThere("stat", name) }
func (noFiles) ReadDir(name string) ([]fs.DirEntry, error) { return nil, notThere("readdir", name) }

func notThere(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}
