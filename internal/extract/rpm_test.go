// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/extract"
)

// read gives one file to the readers.
func read(t testing.TB, name string, data []byte) extract.Found {
	t.Helper()
	if !extract.Wants(name) {
		t.Fatalf("%s is not read", name)
	}
	return extract.Read(t.Context(), extract.InMemory(name, data))
}

// unpacked returns a fixture kept as gzip.
func unpacked(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var rpmFixtures = map[string]string{ // fixture to the name it has in an image
	"rpm/rpmdb.sqlite":        "usr/lib/sysimage/rpm/rpmdb.sqlite",
	"rpm/Packages":            "var/lib/rpm/Packages",
	"rpm/Packages.big-endian": "var/lib/rpm/Packages",
	"rpm/Packages.db":         "usr/lib/sysimage/rpm/Packages.db",
}

func TestRPMDatabases(t *testing.T) {
	want := []string{
		"htop 3.3.0-1.el9 noarch <- htop 3.3.0-1.el9  Fedora Project",
		"nodejs 1:18.20.2-1.module+el9.4.0+2222+ab34 noarch <- nodejs 18.20.2-1.module+el9.4.0+2222+ab34 nodejs:18 Rocky Enterprise Software Foundation",
		"openssl 1:3.0.7-27.el9 x86_64 <- openssl 3.0.7-27.el9  Rocky Enterprise Software Foundation",
		"openssl-libs 1:3.0.7-27.el9 x86_64 <- openssl 3.0.7-27.el9  Rocky Enterprise Software Foundation",
		"perl-Carp 1.50-460.el9 noarch <- perl 5.32.1-481.el9  Rocky Enterprise Software Foundation",
		"perl-libs 4:5.32.1-481.el9 noarch <- perl 5.32.1-481.el9  Rocky Enterprise Software Foundation",
		"python3-idna 2.10-7.el9 noarch <- python-idna 2.10-7.el9  Rocky Enterprise Software Foundation",
	}
	owned := map[string][]string{
		"openssl":      {"usr/bin/openssl"},
		"openssl-libs": {"usr/lib64/libssl.so.3"},
		"python3-idna": {"usr/lib/python3.9/site-packages/idna-2.10.dist-info/METADATA"},
	}
	for fixture, name := range rpmFixtures {
		t.Run(fixture, func(t *testing.T) {
			found := read(t, name, unpacked(t, fixture))
			var got []string
			for _, p := range found.Packages {
				got = append(got, fmt.Sprint(p.Name, " ", p.Version, " ", p.Arch, " <- ", p.Source, " ", p.SourceVersion, " ", p.Module, " ", p.Maintainer))
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(owned, found.Owned); diff != "" {
				t.Error(diff)
			}
			if len(found.Troubles) > 0 {
				t.Error(found.Troubles)
			}
		})
	}
}

// TestSmallPages reads a table whose rows are below inner pages.
func TestSmallPages(t *testing.T) {
	if found := read(t, "var/lib/rpm/rpmdb.sqlite", unpacked(t, "rpm/small.sqlite")); len(found.Packages) != 63 || len(found.Troubles) > 0 {
		t.Errorf("%d packages, %v", len(found.Packages), found.Troubles)
	}
}

// TestBrokenRPMDatabases must say so: a database that is read by half looks clean.
func TestBrokenRPMDatabases(t *testing.T) {
	for fixture, name := range rpmFixtures {
		whole := unpacked(t, fixture)
		for _, part := range []int{1, 40, 5000, len(whole) - 1400} {
			if found := read(t, name, whole[:part]); !fatal(found) {
				t.Errorf("%s cut to %d bytes: %d packages, %v", fixture, part, len(found.Packages), found.Troubles)
			}
		}
		garbled := bytes.Clone(whole)
		first := []byte("\x00\x00\x00\x3f\x00\x00\x00\x07") // the first tag of each record
		for at := bytes.LastIndex(whole, first); at >= 8; at = bytes.LastIndex(whole[:at], first) {
			copy(garbled[at-8:], "\xff\xff\xff\xff\xff\xff\xff\xff")
		}
		if found := read(t, name, garbled); !fatal(found) {
			t.Errorf("%s garbled: %d packages, %v", fixture, len(found.Packages), found.Troubles)
		}
	}
	sqlite := unpacked(t, "rpm/rpmdb.sqlite")
	for what, garbled := range map[string][]byte{
		"no such table":    bytes.ReplaceAll(sqlite, []byte("tablePackages"), []byte("viewxPackages")),
		"text in UTF-16":   slices.Concat(sqlite[:59], []byte{2}, sqlite[60:]),
		"pages of no size": slices.Concat(sqlite[:16], []byte{0, 3}, sqlite[18:]),
	} {
		if found := read(t, "var/lib/rpm/rpmdb.sqlite", garbled); !fatal(found) {
			t.Errorf("%s: %d packages, %v", what, len(found.Packages), found.Troubles)
		}
	}
	if found := read(t, "var/lib/rpm/rpmdb.sqlite-wal", make([]byte, 4096)); !fatal(found) {
		t.Error("what SQLite did not write into the database yet may hold packages")
	}
}

func fatal(found extract.Found) bool {
	return slices.ContainsFunc(found.Troubles, func(t extract.Trouble) bool { return t.Fatal })
}

// TestRPMLoops are chains of pages that come back to themselves: each ends.
func TestRPMLoops(t *testing.T) {
	sqlite := make([]byte, 3*512)
	copy(sqlite, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(sqlite[16:], 512)
	sqlite[59] = 1
	sqlite[100] = 5 // an inner page whose only child is itself
	binary.BigEndian.PutUint32(sqlite[108:], 1)
	berkeley := bytes.Clone(unpacked(t, "rpm/Packages"))
	for page := 4096; page < len(berkeley); page += 4096 {
		if berkeley[page+25] == 7 { // an overflow page that goes on with itself
			binary.LittleEndian.PutUint32(berkeley[page+16:], uint32(page/4096))
			binary.LittleEndian.PutUint16(berkeley[page+22:], 1)
		}
	}
	for name, data := range map[string][]byte{"rpmdb.sqlite": sqlite, "Packages": berkeley} {
		if found := read(t, "var/lib/rpm/"+name, data); !fatal(found) {
			t.Errorf("%s: %v", name, found)
		}
	}
}

// TestRPMNamesOfTerabytes has a folder of 4 MiB that a million files claim to be in.
func TestRPMNamesOfTerabytes(t *testing.T) {
	const files = 1_000_000
	folder := strings.Repeat("usr/bin/", 4<<20/8)
	header := rpmRecord(map[uint32]tag{
		1000: {6, 1, []byte("a\x00")}, 1001: {6, 1, []byte("1\x00")},
		1116: {4, files, make([]byte, 4*files)}, 1117: {8, files, make([]byte, files)}, 1118: {8, 1, []byte(folder + "\x00")},
	})
	found := read(t, "var/lib/rpm/Packages.db", ndbOf(header))
	if len(found.Packages) != 1 || len(found.Owned["a"]) > 0 {
		t.Errorf("%d packages, %d files, %v", len(found.Packages), len(found.Owned["a"]), found.Troubles)
	}
}

type tag struct {
	kind, count uint32
	data        []byte
}

// rpmRecord writes a package's record.
func rpmRecord(tags map[uint32]tag) []byte {
	var index, data []byte
	for id, t := range tags {
		for len(data)%4 != 0 {
			data = append(data, 0)
		}
		for _, n := range []uint32{id, t.kind, uint32(len(data)), t.count} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
		data = append(data, t.data...)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(tags)))
	return slices.Concat(binary.BigEndian.AppendUint32(head, uint32(len(data))), index, data)
}

// ndbOf writes a database of one record.
func ndbOf(record []byte) []byte {
	out := make([]byte, 4096)
	copy(out, "RpmP")
	out[12] = 1
	for at := 32; at < len(out); at += 16 {
		copy(out[at:], "Slot")
	}
	out[36] = 1
	binary.LittleEndian.PutUint32(out[40:], 4096/16)
	out = append(out, "BlbS\x01\x00\x00\x00\x00\x00\x00\x00"...)
	return append(binary.LittleEndian.AppendUint32(out, uint32(len(record))), record...)
}

func TestRPMManifest(t *testing.T) {
	const list = "openssl-libs\t3.3.0-1.azl3\t1\t1\tMicrosoft Corporation\t(none)\t0\tx86_64\t0\topenssl-3.3.0-1.azl3.src.rpm\n" +
		"vim\t9.1-1.azl3\t1\t1\tMicrosoft Corporation\t2\t0\tx86_64\t2\tvim-9.1-1.azl3.src.rpm\n"
	found := read(t, "var/lib/rpmmanifest/container-manifest-2", []byte(list))
	if len(found.Packages) != 2 || len(found.Troubles) > 0 {
		t.Fatalf("got %+v", found)
	}
	if p := found.Packages[1]; p.Version != "2:9.1-1.azl3" || p.Source != "vim" || p.SourceVersion != "9.1-1.azl3" || p.Maintainer != "Microsoft Corporation" {
		t.Errorf("got %+v", p)
	}
	if !fatal(read(t, "var/lib/rpmmanifest/container-manifest-2", []byte("some text\n"))) {
		t.Error("a list that is none")
	}
}

func TestPacman(t *testing.T) {
	const folder = "var/lib/pacman/local/python-idna-3.10-1/"
	found := read(t, folder+"desc", []byte("%NAME%\npython-idna\n\n%VERSION%\n3.10-1\n\n%BASE%\nidna\n\n%ARCH%\nany\n\n%PACKAGER%\nT <t@archlinux.org>\n\n%LICENSE%\nBSD-3-Clause\n\n"))
	if len(found.Packages) != 1 || len(found.Troubles) > 0 {
		t.Fatalf("got %+v", found)
	}
	if p := found.Packages[0]; p.Name != "python-idna" || p.Version != "3.10-1" || p.Source != "idna" || p.Arch != "any" || p.Ecosystem != "" {
		t.Errorf("got %+v", p)
	}
	found = read(t, folder+"files", []byte("%FILES%\nusr/\nusr/lib/python3.13/site-packages/idna-3.10.dist-info/METADATA\n\n%BACKUP%\nbin/x\n"))
	want := map[string][]string{"python-idna": {"usr/lib/python3.13/site-packages/idna-3.10.dist-info/METADATA"}}
	if diff := cmp.Diff(want, found.Owned); diff != "" {
		t.Error(diff)
	}
	if !fatal(read(t, folder+"desc", []byte("garbage"))) {
		t.Error("a record without a name")
	}
}

func FuzzRPM(f *testing.F) {
	f.Add(unpacked(f, "rpm/small.sqlite"))
	f.Add(unpacked(f, "rpm/Packages"))
	f.Add(ndbOf(rpmRecord(map[uint32]tag{1000: {6, 1, []byte("a\x00")}, 1001: {6, 1, []byte("1\x00")}})))
	f.Fuzz(func(t *testing.T, data []byte) {
		found := read(t, "var/lib/rpm/Packages", data)
		if len(found.Packages) == 0 && len(found.Troubles) == 0 && len(data) > 1<<20 {
			t.Error("nothing was found, and nobody says why")
		}
		for _, p := range found.Packages {
			if p.Name == "" || p.Version == "" || p.Source == "" {
				t.Errorf("got %+v", p)
			}
		}
	})
}
