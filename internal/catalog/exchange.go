// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/vex"
)

// Export says which decisions a document is to hold: those that count for an image
// (any digest), for a golden image, those made for a workload, or all.
type Export struct {
	Image, Golden, Workload string
	By                      string // who asks: the author of the document
}

// ExportTriage writes the decisions that count now as one VEX document. Beside a
// golden image or a workload the digests of what stands there now are named, for
// other tools; importing the document again passes them over.
func (c *Catalog) ExportTriage(ctx context.Context, e Export) (vex.Document, error) {
	all, err := c.exported(ctx, e)
	if err != nil {
		return vex.Document{}, err
	}
	now := c.Now().UTC().Truncate(time.Millisecond)
	doc := vex.Document{Author: e.By, Version: 1, Time: now}
	for _, t := range all {
		if !now.Before(t.Expires) {
			continue
		}
		s := t.Statement()
		if s.Products, err = c.products(ctx, t, s.Products[0]); err != nil {
			return doc, err
		}
		doc.Statements = append(doc.Statements, s)
	}
	if len(doc.Statements) == 0 {
		return doc, fault.New(fault.NotFound, "nobody has decided anything that counts now").WithHint("decide about a finding with: goldkeep finding triage")
	}
	doc.ID = documentID(doc)
	return doc, nil
}

// documentID is a UUID (RFC 9562, version 8) made of what a document says.
func documentID(doc vex.Document) string {
	sum := sha256.Sum256(fmt.Append(nil, doc))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func (c *Catalog) exported(ctx context.Context, e Export) ([]verdict.Triage, error) {
	switch {
	case e.Image != "":
		digest, err := image.ParseDigest(e.Image)
		if err != nil {
			return nil, err
		}
		return c.TriageOn(ctx, digest)
	case e.Golden != "":
		if _, err := c.Golden(ctx, e.Golden); err != nil {
			return nil, err
		}
		line, err := c.ancestors(ctx, []string{e.Golden})
		if err != nil {
			return nil, err
		}
		var all []verdict.Triage
		for _, name := range line {
			more, err := c.triages(ctx, "SELECT body FROM catalog_triage WHERE image = ? ORDER BY id", "golden "+name)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
		return all, nil
	case e.Workload != "":
		return c.triages(ctx, "SELECT body FROM catalog_triage WHERE image = ? ORDER BY id", "workload "+e.Workload)
	}
	return c.triages(ctx, "SELECT body FROM catalog_triage ORDER BY id")
}

// maxNamed bounds the images named beside a golden image.
const maxNamed = 200

// products adds to the product of a decision the images it counts for now, by
// every digest they go by.
func (c *Catalog) products(ctx context.Context, t verdict.Triage, p vex.Product) ([]vex.Product, error) {
	ids, err := c.Concerned(ctx, t)
	if err != nil {
		return nil, err
	}
	products := []vex.Product{p}
	if t.Image != "" {
		products = nil // it is named below, by its name
	}
	for _, id := range ids[:min(len(ids), maxNamed)] {
		img, err := c.Find(ctx, id)
		if err != nil {
			if err = ignoreMissing(err); err != nil {
				return nil, err
			}
			img = &Image{ID: id}
		}
		for _, digest := range append([]image.Digest{img.ID}, img.Digests...) {
			if shared, err := c.Known(ctx, digest); err != nil || len(shared) > 1 { // an index stands for other images too
				if err != nil {
					return nil, err
				}
				continue
			}
			purl := vex.PURL{Type: "oci", Name: repository(img.Name), Version: string(digest)}
			named := vex.Product{ID: purl.String(), Digests: []string{string(digest)}, Packages: p.Packages}
			products = append(products, named)
		}
	}
	return products, nil
}

// repository is the last part of an image's name, without tag and digest.
func repository(name string) string {
	name, _, _ = strings.Cut(name, "@")
	name = name[strings.LastIndexByte(name, '/')+1:]
	name, _, _ = strings.Cut(name, ":")
	name = strings.ToLower(strings.Join(strings.Fields(name), "-"))
	if name == "" {
		return "image"
	}
	return name
}

// Import says what a document's statements do not.
type Import struct {
	By                      string    // who imports
	Expires                 time.Time // for statements without an end
	Image, Golden, Workload string    // for statements on products that are not known here; at most one
	Try                     bool      // keep nothing
}

// Taken tells what became of one statement.
type Taken struct {
	At, Flaw string
	Status   vex.Status
	Triage   []verdict.Triage // decisions made of it
	Why      string           // none was, because
}

// ImportTriage keeps what a document decides: all it can, in one transaction, or
// nothing at all where a statement is faulty. A statement that decides nothing
// here is told and passed over; one that is known already is not kept twice.
func (c *Catalog) ImportTriage(ctx context.Context, doc *vex.Document, in Import) ([]Taken, error) {
	scopes := slices.DeleteFunc([]string{in.Image, in.Golden, in.Workload}, func(s string) bool { return s == "" })
	if len(scopes) > 1 {
		return nil, fault.New(fault.Invalid, "name an image, a golden image or a workload, not several")
	}
	held, err := c.triages(ctx, "SELECT body FROM catalog_triage ORDER BY id")
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, t := range held {
		known[sameness(t)] = true
	}
	var taken []Taken
	var all []verdict.Triage
	for _, s := range doc.Statements {
		one := Taken{At: s.At, Flaw: s.Names[0], Status: s.Status}
		decisions, why, err := c.decisions(ctx, doc, s, in)
		if err != nil {
			return nil, fault.New(fault.KindOf(err), "%s (%s): %w", s.At, one.Flaw, err)
		}
		one.Why = why
		for _, t := range decisions {
			if known[sameness(t)] {
				one.Why = "is known already"
				continue
			}
			known[sameness(t)] = true
			one.Triage = append(one.Triage, t)
		}
		all = append(all, one.Triage...)
		taken = append(taken, one)
	}
	if in.Try || len(all) == 0 {
		return taken, nil
	}
	if len(held)+len(all) > maxTriages {
		return nil, fault.New(fault.TooLarge, "there would be more than %d decisions", maxTriages)
	}
	kept, err := c.putTriages(ctx, all)
	for i := range taken {
		n := len(taken[i].Triage)
		if err == nil {
			taken[i].Triage, kept = kept[:n:n], kept[n:]
		}
	}
	return taken, err
}

// sameness is what makes two decisions one: all but who brought it, and its id.
func sameness(t verdict.Triage) string {
	return fmt.Sprintf("%q", []any{
		t.Finding, t.Aliases, t.Image, t.Golden, t.Workload, t.Packages, t.Status, t.Justification, t.Reason, t.Author, t.Expires.UnixMilli(),
	})
}

// decisions makes decisions of one statement, aimed and checked; why says why
// there are none. An error means that the statement is faulty.
func (c *Catalog) decisions(ctx context.Context, doc *vex.Document, s vex.Statement, in Import) (all []verdict.Triage, why string, err error) {
	now := c.Now()
	if s.Own.Expires.IsZero() {
		s.Own.Expires = in.Expires
	}
	if s.Text == "" {
		s.Text = strings.ReplaceAll(s.Justification, "_", " ")
	}
	if s.Own.Author == "" {
		s.Own.Author = doc.Author
	}
	s.Own.Imported = in.By
	found, why := verdict.TriageOf(s)
	switch {
	case why != "":
		return nil, why, nil
	case !s.Own.Expires.IsZero() && !s.Own.Expires.After(now):
		return nil, "ended at " + s.Own.Expires.Format(time.RFC3339), nil
	}
	if found = append(found, chosen(s, in)...); len(found) == 0 {
		return nil, "names no image; say what it is for with --image, --golden or --workload", nil
	}
	if ours := strings.HasPrefix(s.ID, verdict.StatementID); ours && found[0].Image != "" {
		if found, err = c.theOne(ctx, found); err != nil {
			return nil, "", err
		}
	}
	var missing string
	for _, t := range found {
		if t.Expires.IsZero() {
			return nil, "", fault.New(fault.Invalid, "it does not say when it ends").WithHint("say it with --expires 30d")
		}
		if err := checkTriage(&t, now); err != nil {
			return nil, "", err
		}
		aimed, unknown, err := c.aimAll(ctx, t, in)
		if err != nil {
			return nil, "", err
		}
		missing = unknown
		all = append(all, aimed...)
	}
	all = once(all)
	if len(all) == 0 {
		return nil, missing + "; say what it is for with --image, --golden or --workload", nil
	}
	return all, "", nil
}

// theOne chooses among decisions on one image, by different digests, of which one
// may be an index that stands for other images too: the first that is known here
// and stands for one image alone.
func (c *Catalog) theOne(ctx context.Context, found []verdict.Triage) ([]verdict.Triage, error) {
	for i, t := range found {
		ids, err := c.Known(ctx, image.Digest(t.Image))
		if err != nil {
			return nil, err
		}
		if len(ids) == 1 {
			return found[i : i+1], nil
		}
	}
	return found[:1], nil
}

// once leaves out decisions that are the same: an image was named by many digests.
func once(all []verdict.Triage) []verdict.Triage {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(t verdict.Triage) bool {
		again := seen[sameness(t)]
		seen[sameness(t)] = true
		return again
	})
}

// chosen are decisions on packages of whatever the importer named: the statement
// speaks of packages, not of an image.
func chosen(s vex.Statement, in Import) []verdict.Triage {
	if in.Image+in.Golden+in.Workload == "" {
		return nil
	}
	t, _ := verdict.DecisionOf(s)
	t.Image, t.Golden, t.Workload = in.Image, in.Golden, in.Workload
	for _, p := range s.Products {
		purl, err := vex.ParsePURL(p.ID)
		if err != nil || len(p.Packages) > 0 {
			continue
		}
		if _, ok := purl.Key(); ok {
			t.Packages = append(t.Packages, p.ID)
		}
	}
	if len(s.Products) > 0 && len(t.Packages) == 0 {
		return nil
	}
	return []verdict.Triage{t}
}

// aimAll finds what a decision is for. What is not known here is for what the
// importer named, or for nothing: then missing says so. A digest of an index is of
// all its images.
func (c *Catalog) aimAll(ctx context.Context, t verdict.Triage, in Import) (all []verdict.Triage, missing string, err error) {
	if t.Image != "" {
		digest, err := image.ParseDigest(t.Image)
		if err != nil {
			return nil, "", err
		}
		ids, err := c.Known(ctx, digest)
		if err != nil {
			return nil, "", err
		}
		for _, id := range ids {
			t.Image = string(id)
			all = append(all, t)
		}
		missing = "the image " + string(digest) + " is not known here"
	} else {
		err := c.aim(ctx, &t)
		if err == nil {
			return []verdict.Triage{t}, "", nil
		}
		if !fault.Is(err, fault.NotFound) {
			return nil, "", err
		}
		missing = err.Error()
	}
	if len(all) > 0 || in.Image+in.Golden+in.Workload == "" {
		return all, missing, nil
	}
	t.Image, t.Golden, t.Workload = in.Image, in.Golden, in.Workload
	return []verdict.Triage{t}, "", c.aim(ctx, &t)
}
