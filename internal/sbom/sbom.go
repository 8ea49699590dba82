// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package sbom reads bills of materials of other tools, and Goldkeep's own, as the
// contents of an image: CycloneDX 1.4 to 1.7 and SPDX 2.2 and 2.3, both in JSON.
//
// A bill says which packages there are, and nothing of files, users and settings.
// What it does not say is a Problem of the inventory, never silently clean. Bills
// are hostile: they are read as a stream, with limits, and fuzzed.
package sbom

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/leak"
)

// Limits bound what one bill may cost. The zero value of a field means its default.
type Limits struct {
	Bytes      int64 // of the file; default 64 MiB
	Components int   // default 200,000
}

// WithDefaults returns l with every zero field set to its default.
func (l Limits) WithDefaults() Limits {
	return Limits{Bytes: cmp.Or(l.Bytes, 64<<20), Components: cmp.Or(l.Components, 200_000)}
}

// Bill is one bill of materials.
type Bill struct {
	ID        string    // "sha256:..." of the file
	Name      string    // of what it describes
	Format    string    // "CycloneDX 1.6", "SPDX 2.3"
	Tool      string    // "syft 1.57.0"; "" where it does not say
	Created   time.Time // of the bill, not of the image; zero: not stated
	Platform  string    // "linux/amd64", where it says so
	Ports     []string  // where it says so
	Inventory component.Inventory
}

// Detect reports whether a file that begins like this may be a bill of materials.
func Detect(head []byte) bool {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	return bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("{")) &&
		(bytes.Contains(head, []byte(`"bomFormat"`)) || bytes.Contains(head, []byte(`"spdxVersion"`)) || bytes.Contains(head, []byte(`"SPDXID"`)) || bytes.Contains(head, []byte(`cyclonedx.org/schema`)))
}

// item is a package as a bill has it.
type item struct {
	ref      string
	kind     string // library, application, operating-system, ...
	group    string
	name     string
	version  string
	purl     string
	maker    string // who made it: supplier, publisher
	found    string // SPDX: sourceInfo
	owner    string // ref of the package that has it among its files
	licenses []string
	props    map[string]string // known ones only
}

// document is what is gathered while reading.
type document struct {
	limits    Limits
	format    string
	version   string
	name      string
	described map[string]bool // SPDX: refs of what the whole document is about
	tools     []string
	created   string
	items     []item
	owners    map[string]string // SPDX: ref of a package to that of its owner
	props     map[string]string // of the image
	partial   string            // why the list is not whole, as it says itself
}

// Read reads a bill. A file that is none is an error of the kind Invalid, one over
// the limits of the kind TooLarge, one of another version of the kind Unsupported.
func Read(r io.Reader, lim Limits) (*Bill, error) {
	lim = lim.WithDefaults()
	sum := sha256.New()
	limited := &io.LimitedReader{R: io.TeeReader(r, sum), N: lim.Bytes + 1}
	d := &document{limits: lim, props: map[string]string{}, described: map[string]bool{}}
	err := d.read(limited)
	if limited.N <= 0 {
		return nil, fault.New(fault.TooLarge, "read bill of materials: more than %d bytes", lim.Bytes)
	}
	if err != nil {
		return nil, err
	}
	if err := d.supported(); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return nil, fault.New(fault.Invalid, "read bill of materials: %w", err)
	}
	bill := &Bill{
		ID: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Name: shown(d.name), Format: d.format + " " + d.version,
		Tool: shown(strings.Join(d.tools, ", ")), Platform: shown(d.props["platform"]), Inventory: d.inventory(),
	}
	if d.props["ports"] != "" {
		bill.Ports = strings.Fields(shown(d.props["ports"]))
	}
	if at, err := time.Parse(time.RFC3339, d.created); err == nil {
		bill.Created = at
	}
	return bill, nil
}

var versions = map[string][]string{"CycloneDX": {"1.4", "1.5", "1.6", "1.7"}, "SPDX": {"2.2", "2.3"}}

func (d *document) supported() error {
	if d.format == "" {
		return fault.New(fault.Invalid, "read bill of materials: neither CycloneDX nor SPDX in JSON").WithHint("CycloneDX says \"bomFormat\", SPDX \"spdxVersion\" at its top level")
	}
	for _, v := range versions[d.format] {
		if d.version == v {
			return nil
		}
	}
	return fault.New(fault.Unsupported, "read bill of materials: %s %q is not read", d.format, shown(d.version)).WithHint("have it written as %s %s", d.format, versions[d.format][len(versions[d.format])-1])
}

// add takes in one package.
func (d *document) add(i item) error {
	if len(d.items) >= d.limits.Components {
		return fault.New(fault.TooLarge, "read bill of materials: more than %d components", d.limits.Components)
	}
	d.items = append(d.items, i)
	return nil
}

// shown makes a text fit to be kept and shown: short, one line, no credential.
func shown(text string) string {
	const longest = 500
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text[:min(len(text), longest)], "?"))
	if len(leak.In([]byte(text))) > 0 {
		return component.NotShown
	}
	return text
}

// Origin says in a few words where the contents come from.
func (b *Bill) Origin() string {
	if b.Tool == "" {
		return b.Format
	}
	return fmt.Sprintf("%s by %s", b.Format, b.Tool)
}
