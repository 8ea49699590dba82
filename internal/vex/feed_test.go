// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/vex"
)

// says is an OpenVEX document about one flaw in one package.
func says(flaw, status, purl string, at time.Time) vex.File {
	s := vex.Statement{Names: []string{flaw}, Time: at, Status: vex.Status(status), Products: []vex.Product{{ID: purl}}}
	switch s.Status {
	case vex.NotAffected:
		s.Justification = "component_not_present"
	case vex.Affected:
		s.Action = "update"
	}
	text, err := vex.WriteOpenVEX(vex.Document{ID: "https://v.example/" + flaw, Author: "V", Version: 1, Time: at, Statements: []vex.Statement{s}})
	if err != nil {
		panic(err)
	}
	return vex.File{Name: flaw + status + ".json", Data: text}
}

func files(all ...vex.File) iter.Seq2[vex.File, error] {
	return func(yield func(vex.File, error) bool) {
		for _, f := range all {
			if !yield(f, nil) {
				return
			}
		}
	}
}

func zlib() []finding.Finding {
	return []finding.Finding{{
		ID: "DSA-1", Aliases: []string{"CVE-1", "CVE-2"}, Ecosystem: "Debian:12", Package: "zlib", Version: "1:1.2.13-1", Binaries: []string{"zlib1g"},
		PURL: "pkg:deb/debian/zlib1g@1:1.2.13-1?arch=amd64&distro=debian-12", Score: 9.8, Severity: "critical",
	}}
}

func keys(names ...string) []advisory.Key {
	var all []advisory.Key
	for _, n := range names {
		family, name, _ := strings.Cut(n, " ")
		all = append(all, advisory.Key{Ecosystem: family, Name: name})
	}
	return all
}

func TestVendorsStatements(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		b, ctx := must(vex.Open(t.Context(), st))(t), t.Context()
		hidden := func() string {
			t.Helper()
			f := zlib()
			if err := b.Apply(ctx, f); err != nil {
				t.Fatal(err)
			}
			return f[0].Hidden + "|" + f[0].Vendor
		}
		put := func(vendor string, all ...vex.File) vex.Change {
			t.Helper()
			return must(b.Import(ctx, whole(vendor), files(all...)))(t)
		}
		const debian = "pkg:deb/debian/zlib?arch=source"
		one, two := says("CVE-1", "not_affected", debian, now), says("CVE-2", "fixed", "pkg:deb/debian/zlib@1:1.2.13-1?arch=source", now)
		if c := put("debian", one); c.Added != 1 || !slices.Equal(c.Keys, keys("Debian zlib")) {
			t.Errorf("change %+v", c)
		}
		if got := hidden(); !strings.HasPrefix(got, "|of a part of this: not affected says debian: component not present") {
			t.Errorf("one CVE of two: %q", got)
		}
		c := put("debian", one, two)
		if c.Added != 1 || c.Removed != 0 || c.Statements != 2 || len(c.Keys) != 1 {
			t.Errorf("change %+v", c)
		}
		if got := hidden(); !strings.HasPrefix(got, "not affected says debian: component not present (https://v.example/CVE-1)|") {
			t.Errorf("both CVEs: %q", got)
		}
		if c := put("debian", one, two); c.Added+c.Removed != 0 || len(c.Keys) != 1 {
			t.Errorf("the same again, not settled: %+v", c)
		}
		if err := b.Settle(ctx, c); err != nil {
			t.Fatal(err)
		}
		if c := put("debian", one, two); len(c.Keys) != 0 {
			t.Errorf("settled: %+v", c)
		}
		// The newest counts, of whichever vendor; of two of one time the alarming one.
		put("other", says("CVE-2", "affected", debian, now.Add(-time.Second)))
		if got := hidden(); strings.HasPrefix(got, "|") {
			t.Errorf("an older word counts: %q", got)
		}
		put("other", says("CVE-2", "affected", debian, now))
		if got := hidden(); !strings.HasPrefix(got, "|affected says other") {
			t.Errorf("of two at once: %q", got)
		}
		c = must(b.Remove(ctx, "other"))(t)
		if c.Removed != 1 || !slices.Equal(c.Keys, keys("Debian zlib")) || strings.HasPrefix(hidden(), "|") {
			t.Errorf("forgotten: %+v, %q", c, hidden())
		}
		// A document that cannot be read: what was held of it stays.
		broken := vex.File{Name: two.Name, Data: []byte("{")}
		if c := put("debian", one, broken); c.Bad.Count != 1 || c.Removed != 0 || c.Statements != 2 || strings.HasPrefix(hidden(), "|") {
			t.Errorf("a broken document: %+v, %q", c, hidden())
		}
		if _, err := b.Import(ctx, whole("debian"), files(broken)); !fault.Is(err, fault.Invalid) || strings.HasPrefix(hidden(), "|") {
			t.Errorf("nothing but a broken document: %v", err)
		}
		stop := errors.New("the disk is gone")
		if _, err := b.Import(ctx, whole("debian"), func(yield func(vex.File, error) bool) { yield(vex.File{}, stop) }); !errors.Is(err, stop) || strings.HasPrefix(hidden(), "|") {
			t.Errorf("a source that breaks off: %v", err)
		}
		if c := put("debian", one); c.Removed != 1 || !strings.HasPrefix(hidden(), "|") {
			t.Errorf("a document that is gone still counts: %+v, %q", c, hidden())
		}
		if v := must(b.Vendors(ctx))(t); len(v) != 1 || v[0].Name != "debian" || v[0].Statements != 1 || !v[0].Newest.Equal(now) {
			t.Errorf("vendors %+v", v)
		}
		for _, name := range []string{"", "../x", "A b"} {
			if _, err := b.Import(ctx, whole(name), files(one)); !fault.Is(err, fault.Invalid) {
				t.Errorf("vendor %q: %v", name, err)
			}
		}
		if _, err := b.Remove(ctx, "nobody"); !fault.Is(err, fault.NotFound) {
			t.Errorf("forgetting nobody: %v", err)
		}
	})
}

// TestOnlyPackagesCount: what a vendor says of its products is nothing about ours.
func TestOnlyPackagesCount(t *testing.T) {
	b := must(vex.Open(t.Context(), storetest.SQLite(t)))(t)
	var all []vex.File
	for i, purl := range []string{
		"pkg:oci/shop@sha256%3A00", "pkg:generic/zlib", "pkg:deb/nobody/zlib", "https://example.com/zlib", "pkg:deb/debian/zlib#part", "",
	} {
		f := says("CVE-1", "not_affected", purl, now)
		f.Name = fmt.Sprint(i, ".json")
		all = append(all, f)
	}
	within := vex.Document{ID: "x", Author: "V", Time: now, Statements: []vex.Statement{{
		Names: []string{"CVE-1"}, Time: now, Status: vex.NotAffected, Justification: "component_not_present",
		Products: []vex.Product{{ID: "pkg:deb/debian/zlib", Packages: []string{"pkg:npm/x"}}},
	}, {
		Names: []string{"CVE-1"}, Time: now, Status: vex.NotAffected, Justification: "component_not_present",
	}, {
		Names: []string{"CVE-1"}, Time: now, Status: vex.Fixed, Products: []vex.Product{{ID: "pkg:deb/debian/zlib?arch=source"}},
	}}}
	all = append(all, vex.File{Name: "within.json", Data: must(vex.WriteOpenVEX(within))(t)})
	c := must(b.Import(t.Context(), whole("v"), files(all...)))(t)
	if c.Statements != 0 || c.NotTaken.Count != 9 || len(c.NotTaken.First) != 5 || c.Documents != 7 {
		t.Errorf("change %+v", c)
	}
	f := zlib()
	if err := b.Apply(t.Context(), f); err != nil || f[0].Hidden != "" || f[0].Vendor != "" {
		t.Errorf("findings %+v, %v", f, err)
	}
}

// covered is an advisory database that knows some ecosystems.
type covered struct{ names []string }

func (c covered) Covered(context.Context) (map[string]bool, error) {
	return map[string]bool{"Debian:12": true, "Debian:13": true, "Go": true, "npm": true}, nil
}
func (c covered) Names(context.Context, string) ([]string, error) { return c.names, nil }

func TestSpreadFindsTheKeysOfImages(t *testing.T) {
	c := vex.Change{Keys: keys("Debian zlib", "Go github.com/burntsushi/toml", "npm x", "PyPI y")}
	got := must(c.Spread(t.Context(), covered{[]string{"github.com/BurntSushi/toml", "other"}}))(t)
	want := keys("Debian:12 zlib", "Debian:13 zlib", "Go github.com/BurntSushi/toml", "npm x")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestTwoServersOneBook: what one imports the other knows at once.
func TestTwoServersOneBook(t *testing.T) {
	dsn := storetest.PostgresDSN(t)
	a := must(vex.Open(t.Context(), storetest.PostgresAt(t, dsn)))(t)
	b := must(vex.Open(t.Context(), storetest.PostgresAt(t, dsn)))(t)
	must(a.Import(t.Context(), whole("v"), files(says("DSA-1", "not_affected", "pkg:deb/debian/zlib", now))))(t)
	f := zlib()
	if err := b.Apply(t.Context(), f); err != nil || f[0].Hidden == "" {
		t.Errorf("the other server: %+v, %v", f, err)
	}
	if left := must(b.Unsettled(t.Context()))(t); len(left) != 1 || left[0].Vendor != "v" {
		t.Errorf("unsettled %+v", left)
	}
	must(b.Remove(t.Context(), "v"))(t)
	f = zlib()
	if err := a.Apply(t.Context(), f); err != nil || f[0].Hidden != "" {
		t.Errorf("the first server: %+v, %v", f, err)
	}
}

func TestSourcesOfDocuments(t *testing.T) {
	dir := t.TempDir()
	doc := says("CVE-1", "not_affected", "pkg:deb/debian/zlib", now)
	for name, text := range map[string][]byte{"a/b/one.json": doc.Data, "README.md": []byte("not one")} {
		path := filepath.Join(dir, "docs", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	if err := vex.Pack(&packed, vex.Folder(filepath.Join(dir, "docs"))); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "docs.zip")
	if err := os.WriteFile(archive, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		filepath.Join(dir, "docs"): "a/b/one.json", archive: "a/b/one.json", filepath.Join(dir, "docs/a/b/one.json"): "one.json",
	} {
		all, done, err := vex.Source(t.Context(), from, "")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for f, err := range all {
			n++
			if err != nil || f.Name != want || !bytes.Equal(f.Data, doc.Data) {
				t.Errorf("%s: %q, %v", from, f.Name, err)
			}
		}
		done()
		if n != 1 {
			t.Errorf("%s: %d documents", from, n)
		}
	}
	if _, _, err := vex.Source(t.Context(), filepath.Join(dir, "none"), ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("nothing there: %v", err)
	}
	for f, err := range vex.Archive(bytes.NewReader(packed.Bytes()[:40]), 40) {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("a cut archive: %q, %v", f.Name, err)
		}
	}
}

// whole is a vendor that may speak of everything.
func whole(vendor string) vex.Feed { return vex.Feed{Vendor: vendor, About: []string{"pkg:"}} }

// TestAVendorSpeaksOfItsOwnPackages, as whoever brought it in said, and not of the future.
func TestAVendorSpeaksOfItsOwnPackages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		b, ctx := must(vex.Open(t.Context(), st))(t), t.Context()
		old := st.Now().Add(-time.Hour)
		all := []vex.File{
			says("CVE-1", "not_affected", "pkg:deb/debian/zlib", old), says("CVE-2", "not_affected", "pkg:deb/ubuntu/zlib", old),
			says("CVE-3", "not_affected", "pkg:golang/github.com/acme/tool", old), says("CVE-4", "not_affected", "pkg:golang/github.com/acmevil/tool", old),
			says("CVE-5", "not_affected", "pkg:npm/%40acme/x", old),
		}
		if _, err := b.Import(ctx, vex.Feed{Vendor: "acme"}, files(all...)); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "--about") {
			t.Errorf("a vendor nobody bound: %v", err)
		}
		for _, bad := range []string{"debian", "pkg:deb debian", "pkg:deb/debian/zlib@1", ""} {
			if _, err := b.Import(ctx, vex.Feed{Vendor: "acme", About: []string{bad}}, files(all...)); !fault.Is(err, fault.Invalid) {
				t.Errorf("bound to %q: %v", bad, err)
			}
		}
		c := must(b.Import(ctx, vex.Feed{Vendor: "acme", About: []string{"pkg:golang/GitHub.com/acme/", "pkg:npm/%40acme"}}, files(all...)))(t)
		if c.Statements != 2 || c.NotTaken.Count != 3 || !strings.Contains(c.NotTaken.First[0], "not this vendor's") {
			t.Errorf("change %+v", c)
		}
		if c = must(b.Import(ctx, vex.Feed{Vendor: "acme"}, files(all...)))(t); c.Statements != 2 || c.Removed != 0 {
			t.Errorf("the next time: %+v", c)
		}
		if held := must(b.Vendors(ctx))(t); len(held) != 1 || !slices.Equal(held[0].About, []string{"pkg:golang/GitHub.com/acme/", "pkg:npm/%40acme"}) {
			t.Errorf("vendors %+v", held)
		}
		if c = must(b.Import(ctx, vex.Feed{Vendor: "acme", About: []string{"pkg:deb"}}, files(all...)))(t); c.Statements != 2 || c.Removed != 2 {
			t.Errorf("bound anew: %+v", c)
		}
		ahead := says("CVE-1", "not_affected", "pkg:deb/debian/zlib", st.Now().Add(2*time.Hour))
		if c = must(b.Import(ctx, vex.Feed{Vendor: "acme"}, files(all[1], ahead)))(t); c.Bad.Count != 1 || !strings.Contains(c.Bad.First[0], "in the future") {
			t.Errorf("a document of tomorrow: %+v", c)
		}
	})
}
