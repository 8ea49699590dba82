// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The wire form of the part of CSAF 2.0 that VEX needs
// (https://docs.oasis-open.org/csaf/csaf/v2.0/csaf-v2.0.html, profile 5).
type csaf struct {
	Document struct {
		Publisher cdxNamed `json:"publisher"`
		Tracking  struct {
			ID      string          `json:"id"`
			Current string          `json:"current_release_date"`
			Version json.RawMessage `json:"version"`
		} `json:"tracking"`
	} `json:"document"`
	ProductTree struct {
		Branches      []csafBranch       `json:"branches"`
		Names         []csafProduct      `json:"full_product_names"`
		Relationships []csafRelationship `json:"relationships"`
	} `json:"product_tree"`
	Vulnerabilities []csafVulnerability `json:"vulnerabilities"`
}

type csafBranch struct {
	Branches []csafBranch `json:"branches"`
	Product  *csafProduct `json:"product"`
}

type csafProduct struct {
	ID     string `json:"product_id"`
	Helper struct {
		PURL string `json:"purl"`
	} `json:"product_identification_helper"`
}

// csafRelationship: a package (product_reference) as it is in a product.
type csafRelationship struct {
	Package string      `json:"product_reference"`
	Within  string      `json:"relates_to_product_reference"`
	Product csafProduct `json:"full_product_name"`
}

type csafVulnerability struct {
	CVE    string                  `json:"cve"`
	IDs    []struct{ Text string } `json:"ids"`
	Status map[string][]string     `json:"product_status"`
	Flags  []struct {
		Label    string   `json:"label"`
		Products []string `json:"product_ids"`
	} `json:"flags"`
	Threats []struct {
		Category string   `json:"category"`
		Details  string   `json:"details"`
		Products []string `json:"product_ids"`
	} `json:"threats"`
}

// csafStatuses are the lists of product_status, in the order they are read. The
// others (first_affected, recommended, ...) add nothing for us.
var csafStatuses = []struct {
	list   string
	status Status
}{
	{"known_not_affected", NotAffected}, {"fixed", Fixed}, {"known_affected", Affected}, {"under_investigation", UnderInvestigation},
}

func readCSAF(data []byte) (*Document, error) {
	var in csaf
	if err := decode(data, &in); err != nil {
		return nil, err
	}
	t := in.Document.Tracking
	issued, err := newest("document.tracking.current_release_date", t.Current)
	if err != nil {
		return nil, err
	}
	doc := &Document{Format: "csaf", ID: t.ID, Author: in.Document.Publisher.Name, Time: issued}
	_, _ = fmt.Sscanf(strings.Trim(string(t.Version), `"`), "%d", &doc.Version) // "1.2.3" counts as 1
	for at, name := range map[string]string{"document.tracking.id": doc.ID, "document.publisher.name": doc.Author} {
		if err := checkName(at, name); err != nil {
			return nil, err
		}
	}
	if len(in.Vulnerabilities) == 0 {
		return nil, wrong("vulnerabilities", "there is none")
	}
	products := in.products()
	r := reader{doc: doc}
	for i, v := range in.Vulnerabilities {
		for _, s := range v.statements(fmt.Sprintf("vulnerabilities[%d]", i), issued, products) {
			if err := r.add(s); err != nil {
				return nil, err
			}
		}
	}
	return doc, nil
}

// products maps product ids to what they mean. A package within a product is
// that package only there, and so no statement of the package as such; but where
// the product has no package URL of its own it is a distribution.
func (in *csaf) products() map[string]Product {
	out := map[string]Product{}
	take := func(p csafProduct) {
		if _, known := out[p.ID]; !known && p.ID != "" {
			out[p.ID] = Product{ID: p.Helper.PURL}
		}
	}
	for _, p := range in.ProductTree.Names {
		take(p)
	}
	var walk func(branches []csafBranch)
	walk = func(branches []csafBranch) {
		for _, b := range branches {
			if b.Product != nil {
				take(*b.Product)
			}
			walk(b.Branches)
		}
	}
	walk(in.ProductTree.Branches)
	for _, r := range in.ProductTree.Relationships {
		part, within := out[r.Package], out[r.Within]
		p := Product{ID: within.ID, Packages: []string{part.ID}}
		if within.ID == "" {
			// Packages of one version are in many releases: without the
			// release's name only a full version tells them apart.
			p = part
			if purl, err := ParsePURL(part.ID); err != nil || purl.Version == "" {
				p = Product{}
			}
		}
		out[r.Product.ID] = p
	}
	return out
}

// statements makes one of each status, and of each reason where it is not_affected.
func (v *csafVulnerability) statements(at string, issued time.Time, products map[string]Product) []Statement {
	names := []string{}
	for _, name := range append([]string{v.CVE}, texts(v.IDs)...) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var out []Statement
	for _, kind := range csafStatuses {
		groups := map[[2]string]int{}
		for _, id := range v.Status[kind.list] {
			why := [2]string{}
			if kind.status == NotAffected {
				why = v.reason(id)
			}
			i, known := groups[why]
			if !known {
				i = len(out)
				groups[why] = i
				out = append(out, Statement{At: at + ".product_status." + kind.list, Names: names, Time: issued, Status: kind.status, Justification: why[0], Text: why[1]})
			}
			p, known := products[id]
			if !known {
				p = Product{ID: id}
			}
			out[i].Products = append(out[i].Products, p)
		}
	}
	return out
}

func texts(ids []struct{ Text string }) []string {
	var out []string
	for _, id := range ids {
		out = append(out, id.Text)
	}
	return out
}

// reason is why a product is not affected: a flag, whose labels are OpenVEX's
// words, and the words of a threat.
func (v *csafVulnerability) reason(product string) [2]string {
	var why [2]string
	for _, f := range v.Flags {
		if slices.Contains(f.Products, product) && Justified(f.Label) {
			why[0] = f.Label
		}
	}
	for _, t := range v.Threats {
		if t.Category == "impact" && slices.Contains(t.Products, product) {
			why[1] = t.Details
		}
	}
	return why
}
